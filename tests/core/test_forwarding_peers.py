"""What a relay keeps of each peer."""

from __future__ import annotations

from tests.samples import public_key
from wireguard_mesh.core.forwarding_peers import MAX_DEBT, Bucket, mac1_hasher


def test_a_bucket_fills_up_to_its_brim() -> None:
    bucket = Bucket(10, 2)
    assert bucket.take(10, 0.0)
    assert not bucket.take(1, 0.0)
    assert bucket.take(2, 1.0)
    assert not bucket.take(11, 100.0)
    assert bucket.take(10, 100.0)


def test_a_bucket_can_be_overdrawn() -> None:
    bucket = Bucket(10, 10)
    assert bucket.take(1, 0.0)
    bucket.charge(20)
    assert not bucket.take(1, 1.0)
    assert bucket.take(1, 1.3)


def test_what_others_overdraw_is_over_soon() -> None:
    bucket = Bucket(10, 10)
    assert bucket.take(1, 0.0)
    for _ in range(100):
        bucket.charge(20)
    assert not bucket.take(1, MAX_DEBT)
    assert bucket.take(1, MAX_DEBT + 0.3)


def test_a_bucket_without_a_rate_is_none() -> None:
    bucket = Bucket(0, 0)
    assert bucket.take(1 << 40, 0.0)


def test_a_hasher_is_copied_and_stays() -> None:
    hasher = mac1_hasher(public_key(1))
    first, second = hasher.copy(), hasher.copy()
    first.update(b"x")
    second.update(b"x")
    assert first.digest() == second.digest()
    assert len(first.digest()) == 16
    assert first.digest() != mac1_hasher(public_key(2)).digest()

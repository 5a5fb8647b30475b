"""A signed request counts once."""

from __future__ import annotations

import math

import pytest

from tests.core.samples import public_key
from wireguard_mesh.core.nonces import FAIR_SHARE, GENERATION_SECONDS, MAX_NONCES, Nonces, Replayed
from wireguard_mesh.core.ratelimit import RateLimited

ANN, BOB = public_key(1), public_key(2)


def test_a_nonce_counts_once_for_each_key() -> None:
    nonces = Nonces(0.0)
    nonces.use(ANN, "n", 0.0)
    nonces.use(BOB, "n", 0.0)
    with pytest.raises(Replayed):
        nonces.use(ANN, "n", 1.0)


@pytest.mark.parametrize("first", [0.0, 60.0, GENERATION_SECONDS])
def test_a_nonce_is_remembered_for_a_whole_generation(first: float) -> None:
    nonces = Nonces(0.0)
    nonces.use(ANN, "n", first)
    nonces.use(ANN, "other", first + GENERATION_SECONDS / 2)
    with pytest.raises(Replayed):
        nonces.use(ANN, "n", first + GENERATION_SECONDS)


def test_memory_is_given_back() -> None:
    nonces = Nonces(0.0, max_per_key=1)
    for turn in range(5):
        nonces.use(ANN, f"n{turn}", turn * (GENERATION_SECONDS + 1))
    nonces.use(ANN, "n0", 1e6)  # after a long silence both generations are old


def test_one_key_cannot_use_the_memory_of_the_others() -> None:
    nonces = Nonces(0.0, max_per_key=2)
    nonces.use(ANN, "1", 0.0)
    nonces.use(ANN, "2", 0.0)
    with pytest.raises(RateLimited) as caught:
        nonces.use(ANN, "3", 100.0)
    assert caught.value.retry_after == GENERATION_SECONDS - 100
    nonces.use(BOB, "3", 100.0)


def test_a_few_busy_keys_leave_the_others_their_share() -> None:
    nonces = Nonces(0.0, max_per_key=100, max_nonces=200)
    for turn in range(100):
        nonces.use(ANN, f"{turn}", 0.0)
    with pytest.raises(RateLimited):
        nonces.use(ANN, "more", 0.0)
    for turn in range(FAIR_SHARE):
        nonces.use(BOB, f"{turn}", 0.0)
    with pytest.raises(RateLimited):
        nonces.use(BOB, "more", 0.0)
    nonces.use(public_key(3), "1", 0.0)


def test_all_together_are_bounded() -> None:
    nonces = Nonces(0.0, max_nonces=1)
    nonces.use(ANN, "1", 0.0)
    with pytest.raises(RateLimited) as caught:
        nonces.use(BOB, "1", GENERATION_SECONDS)
    assert caught.value.retry_after == 1.0


def test_ten_thousand_peers_that_reconnect_again_and_again_are_within_the_limits() -> None:
    # A generation: two heartbeats a minute, and four times a refused request, its repetition and a stream.
    each = math.ceil(GENERATION_SECONDS / 30) + 4 * 3
    assert each <= FAIR_SHARE
    assert 10_000 * each <= MAX_NONCES // 2

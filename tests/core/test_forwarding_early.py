"""What came a moment too early."""

from __future__ import annotations

from tests.core.forwarding_samples import source
from wireguard_mesh.core.forwarding_early import MAX_HELD, MAX_HELD_EACH, PATIENCE, Early


def test_it_waits_for_what_is_missing() -> None:
    early = Early()
    early.hold(source(1), source(2), b"a", 0.0)
    early.hold(source(1), source(3), b"b", 1.0)
    early.hold(source(4), source(2), b"c", 1.0)
    assert early.release(source(9), 1.0) == []
    assert early.release(source(1), 1.0) == [(source(2), b"a"), (source(3), b"b")]
    assert early.release(source(1), 1.0) == []
    assert len(early) == 1


def test_it_does_not_wait_for_long() -> None:
    early = Early()
    early.hold(source(1), source(2), b"a", 0.0)
    early.hold(source(1), source(2), b"b", 1.0)
    assert early.release(source(1), PATIENCE) == [(source(2), b"b")]
    early.hold(source(1), source(2), b"a", 0.0)
    early.hold(source(4), source(2), b"c", 1.0)
    early.expire(PATIENCE)
    assert len(early) == 1
    early.expire(PATIENCE + 1)
    assert len(early) == 0


def test_there_is_room_for_so_much() -> None:
    early = Early()
    for _ in range(MAX_HELD_EACH + 5):
        early.hold(source(1), source(2), b"a", 0.0)
    assert len(early) == MAX_HELD_EACH
    for number in range(MAX_HELD):
        early.hold(("192.0.2.1", number), source(2), b"a", 0.0)
    assert len(early) == MAX_HELD
    assert early.release(source(1), 0.0) == [], "the oldest gave way"

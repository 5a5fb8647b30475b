"""Who is alive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.core.samples import empty, public_key, register
from wireguard_mesh.core.commands import Command, Leave, MarkOffline
from wireguard_mesh.core.liveness import Liveness, heartbeat_seconds
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot

ANN, BOB = public_key(1), public_key(2)
TIMEOUT = 120.0


def after(snapshot: Snapshot, *commands: Command) -> Snapshot:
    for command in commands:
        snapshot = decide(snapshot, [command], 0.0).snapshot
    return snapshot


def leave(seed: int) -> Leave:
    return Leave(public_key=public_key(seed), signed=True)


def sweep(liveness: Liveness, start: float, end: float) -> list[object]:
    """Look every ten seconds; what was late at the end."""
    late: list[object] = []
    moment = start
    while moment <= end:
        late = list(liveness.overdue(moment))
        moment += 10
    return late


def test_silence_beyond_the_timeout_is_late_and_not_before() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 1000.0)
    assert sweep(liveness, 0.0, 120.0) == []
    liveness.heard(BOB, 125.0, 1125.0)
    assert liveness.overdue(130.0) == [ANN]
    assert liveness.overdue(140.0) == [ANN]  # until it is marked
    assert liveness.went_offline(ANN, 140.0)
    assert liveness.overdue(150.0) == []
    assert liveness.last_heard(ANN) == 1000.0
    assert liveness.went_offline(ANN, 150.0)


def test_who_was_heard_while_it_was_being_marked_is_not_offline() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 0.0)
    liveness.heard(ANN, 131.0, 131.0)
    assert not liveness.went_offline(ANN, 130.0)
    assert liveness.last_heard(ANN) == 131.0


def test_a_heartbeat_gives_the_full_timeout_anew() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 0.0)
    liveness.heard(BOB, 1.0, 0.0)
    liveness.heard(ANN, 100.0, 0.0)
    assert sweep(liveness, 0.0, 130.0) == [BOB]


def test_after_a_start_everybody_has_the_full_timeout() -> None:
    liveness = Liveness(TIMEOUT, 5000.0)
    liveness.load([(ANN, 10.0)], [(BOB, 20.0)])
    assert (liveness.last_heard(ANN), liveness.last_heard(BOB), liveness.last_heard(public_key(3))) == (10.0, 20.0, 0.0)
    assert sweep(liveness, 5000.0, 5120.0) == []
    assert liveness.overdue(5121.0) == [ANN]


def test_after_the_server_itself_slept_everybody_has_the_full_timeout() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 0.0)
    assert liveness.overdue(10.0) == []
    assert liveness.overdue(1000.0) == []
    assert sweep(liveness, 1010.0, 1120.0) == []
    assert liveness.overdue(1121.0) == [ANN]


@pytest.mark.parametrize(("timeout", "interval"), [(3.0, 2.0), (3.0, 3.0), (10.0, 5.0), (120.0, 10.0), (1.0, 1.0)])
def test_whatever_the_interval_silence_is_found(timeout: float, interval: float) -> None:
    liveness = Liveness(timeout, 0.0, interval)
    liveness.heard(ANN, 0.0, 0.0)
    moment = 0.0
    while moment <= timeout:
        assert liveness.overdue(moment) == []
        moment += interval * 1.01  # a timer is always a little late
    assert liveness.overdue(moment) == [ANN]


def test_who_is_online_and_was_never_heard_is_watched_too() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 7.0)
    liveness.watch([ANN, BOB], 100.0, 107.0)
    assert (liveness.last_heard(ANN), liveness.last_heard(BOB)) == (7.0, 107.0)
    assert sweep(liveness, 0.0, 130.0) == [ANN]
    assert sweep(liveness, 140.0, 230.0) == [ANN, BOB]


def test_who_left_is_forgotten() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 7.0)
    liveness.forget(ANN)
    assert liveness.last_heard(ANN) == 0.0
    assert liveness.unsaved() == []
    assert sweep(liveness, 0.0, 200.0) == []


def test_only_what_was_heard_since_is_saved() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.load([(ANN, 1.0), (BOB, 2.0)], [])
    liveness.heard(ANN, 3.0, 33.0)
    assert liveness.unsaved() == [(ANN, 33.0)]
    liveness.saved([ANN])
    assert liveness.unsaved() == []


def test_who_left_with_another_server_is_forgotten_and_who_came_is_watched() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    before = after(empty(), register(1), register(2))
    assert liveness.follow(empty(), before, 0.0, 1000.0) == []
    assert liveness.follow(before, after(before, leave(1), register(3)), 50.0, 1050.0) == []
    assert [liveness.last_heard(public_key(seed)) for seed in (1, 2, 3)] == [0.0, 1000.0, 1050.0]


def test_who_left_and_is_back_is_not_forgotten() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    before = after(empty(), register(1))
    liveness.heard(ANN, 0.0, 1000.0)
    assert liveness.follow(before, after(before, leave(1), register(1)), 50.0, 1050.0) == []
    assert liveness.last_heard(ANN) == 1000.0


def test_who_came_and_left_between_two_maps_is_nobody() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    between = after(empty(), register(1))
    assert liveness.follow(empty(), after(between, leave(1)), 0.0, 1000.0) == []
    assert liveness.last_heard(ANN) == 0.0


def test_who_is_offline_by_another_server_but_heard_here_is_named() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    before = after(empty(), register(1), register(2))
    liveness.heard(ANN, 0.0, 1000.0)
    both = after(before, MarkOffline(public_key=ANN), MarkOffline(public_key=BOB))
    assert liveness.follow(before, both, 50.0, 1050.0) == [ANN]


@pytest.mark.parametrize("change", [{"epoch": "restored"}, {"revision": 4, "purged": 3}, {"revision": 0}])
def test_of_a_map_that_cannot_be_followed_all_is_looked_at(change: dict[str, Any]) -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    before = after(empty(), register(1), register(2))
    liveness.load([(ANN, 7.0)], [(BOB, 3.0), (public_key(3), 4.0)])
    other = after(empty(), register(2), register(4))
    assert liveness.follow(before, replace(other, **change), 50.0, 1050.0) == []
    assert [liveness.last_heard(public_key(seed)) for seed in (1, 2, 3, 4)] == [0.0, 1050.0, 0.0, 1050.0]


def test_what_another_server_heard_counts_and_is_not_ours_to_keep() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 1000.0)
    liveness.saved([ANN])
    liveness.heard_elsewhere(ANN, 100.0, 1100.0)
    assert sweep(liveness, 0.0, 220.0) == []
    assert sweep(liveness, 220.0, 230.0) == [ANN]
    assert (liveness.last_heard(ANN), liveness.unsaved()) == (1100.0, [])
    liveness.heard_elsewhere(ANN, 50.0, 1050.0)  # longer ago
    assert liveness.last_heard(ANN) == 1100.0
    # One that is offline stays so: that is for the map to say.
    liveness.heard_elsewhere(BOB, 200.0, 1200.0)
    liveness.heard_elsewhere(BOB, 150.0, 1150.0)
    assert liveness.last_heard(BOB) == 1200.0
    assert sweep(liveness, 230.0, 400.0) == [ANN]


def test_only_what_was_heard_here_lately_is_heard_here() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.load([(ANN, 7.0)], [])
    liveness.watch([BOB], 10.0, 10.0)
    assert not liveness.is_heard_here(ANN, 10.0)
    assert not liveness.is_heard_here(BOB, 10.0)
    liveness.heard(ANN, 20.0, 20.0)
    assert liveness.is_heard_here(ANN, 140.0)
    assert not liveness.is_heard_here(ANN, 141.0)
    liveness.heard_elsewhere(ANN, 30.0, 30.0)
    assert not liveness.is_heard_here(ANN, 40.0)


def test_who_begins_to_look_gives_everybody_the_full_timeout() -> None:
    liveness = Liveness(TIMEOUT, 0.0)
    liveness.heard(ANN, 0.0, 0.0)
    liveness.start_anew(115.0)
    assert sweep(liveness, 115.0, 235.0) == []
    assert sweep(liveness, 235.0, 245.0) == [ANN]


@pytest.mark.parametrize(("timeout", "often"), [(120.0, 30.0), (600.0, 30.0), (20.0, 5.0)])
def test_peers_beat_so_often_that_some_may_be_lost(timeout: float, often: float) -> None:
    assert heartbeat_seconds(timeout) == often

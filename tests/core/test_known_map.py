"""The map that this machine has, however it comes to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import empty, public_key, register
from tests.core.test_registry import BATCHES
from tests.samples import NETWORK, peer
from tests.samples import public_key as key
from wireguard_mesh.core import registry
from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Command
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.known_map import KnownMap
from wireguard_mesh.core.netmap import apply, whole
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind


def at(seconds: float) -> Instant:
    return Instant(seconds, 1e9 + seconds)


def snapshot(revision: int, *numbers: int, epoch: str = "e") -> MapUpdate:
    return MapUpdate(
        kind=UpdateKind.SNAPSHOT,
        epoch=epoch,
        revision=revision,
        network=NETWORK,
        upsert=tuple(map(peer, (1, *numbers))),
    )


def change(revision: int, *numbers: int, epoch: str = "e") -> MapUpdate:
    return MapUpdate(kind=UpdateKind.DELTA, epoch=epoch, revision=revision, upsert=tuple(map(peer, numbers)))


def known(update: MapUpdate | None = None) -> KnownMap:
    one = KnownMap(key(1))
    if update is not None:
        one.take(update, None, at(0))
    return one


def test_knows_nothing_at_first() -> None:
    one = known()
    assert (one.map, one.since, one.lag, one.current_at, one.behind_since) == (None, None, None, None, None)


def test_goes_on_from_the_last_run_but_does_not_call_that_current() -> None:
    last = apply(None, snapshot(5, 2), key(1))
    one = KnownMap(key(1), last)
    assert (one.map, one.since, one.current_at, one.lag) == (last, MapVersion("e", 5), None, None)
    one.take(change(7, 3), one.since, at(1))
    assert one.map is not None
    assert set(one.map.peers) == {key(2), key(3)}
    assert (one.current_at, one.lag) == (at(1), 0)


def test_what_comes_is_the_newest() -> None:
    one = known(snapshot(5, 2))
    assert (one.since, one.current_at, one.lag) == (MapVersion("e", 5), at(0), 0)
    one.confirm(at(9))
    assert one.current_at == at(9)


def test_a_server_that_is_ahead_makes_it_age() -> None:
    one = known(snapshot(5, 2))
    assert not one.head_is(MapVersion("e", 5), at(1))
    assert one.head_is(MapVersion("e", 8), at(2))
    assert one.head_is(MapVersion("e", 9), at(3))
    one.confirm(at(4))
    assert (one.lag, one.behind_since, one.current_at) == (4, at(2), at(0))
    one.take(change(8, 3), one.since, at(5))
    assert (one.lag, one.behind_since, one.current_at) == (1, at(2), at(0))
    one.take(change(9, 4), one.since, at(6))
    assert (one.lag, one.behind_since, one.current_at) == (0, None, at(6))


def test_a_word_that_was_overtaken_is_none_of_being_behind() -> None:
    one = known(snapshot(5, 2))
    assert not one.head_is(MapVersion("e", 4), at(1))
    assert (one.lag, one.behind_since) == (0, None)


def test_another_epoch_is_ahead_by_nobody_knows_how_much() -> None:
    one = known(snapshot(5, 2))
    assert one.head_is(MapVersion("f", 1), at(1))
    assert (one.lag, one.behind_since) == (None, at(1))
    one.take(snapshot(2, 3, epoch="f"), None, at(2))
    assert (one.lag, one.behind_since, one.head) == (0, None, MapVersion("f", 2))


def test_before_there_is_a_map_a_server_is_ahead() -> None:
    one = known()
    assert one.head_is(MapVersion("e", 3), at(1))
    assert one.lag is None


def test_a_change_that_was_overtaken_is_passed_over() -> None:
    one = known(snapshot(5, 2))
    before = one.map
    assert one.take(change(4, 3), one.since, at(1)) is before
    assert one.map is before


def test_a_whole_map_counts_though_it_is_older() -> None:
    one = known(snapshot(5, 2))
    one.take(snapshot(3, 4), None, at(1))
    assert one.since == MapVersion("e", 3)


@pytest.mark.parametrize(
    "update", [change(6, 3, epoch="f"), MapUpdate(kind=UpdateKind.SNAPSHOT, epoch="e", revision=6)]
)
def test_what_does_not_fit_changes_nothing_and_asks_for_the_whole(update: MapUpdate) -> None:
    one = known(snapshot(5, 2))
    before = one.map
    with pytest.raises(InvalidValue):
        one.take(update, one.since, at(1))
    assert (one.map, one.since, one.current_at) == (before, None, at(0))
    with pytest.raises(InvalidValue):
        one.take(change(6, 3), one.since, at(2))
    one.take(snapshot(6, 3), None, at(3))
    assert one.since == MapVersion("e", 6)


def test_what_is_doubted_is_asked_for_anew() -> None:
    one = known(snapshot(5, 2))
    one.doubt()
    assert one.since is None
    one.take(snapshot(5, 2), None, at(1))
    assert one.since == MapVersion("e", 5)


def test_a_change_that_follows_on_what_was_replaced_since_is_none() -> None:
    """Two whole maps were asked for; the older one came last, and with it went what the change builds on."""
    one = known(snapshot(9, 2))
    one.take(snapshot(3, 2), None, at(1))
    with pytest.raises(InvalidValue, match="another map"):
        one.take(change(12, 4), MapVersion("e", 9), at(2))
    assert one.since is None


@given(
    BATCHES, st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=20), st.integers(0, 4)
)
@settings(max_examples=150, deadline=None)
def test_two_ways_at_once_and_answers_that_come_late_end_in_the_servers_map(
    batches: list[tuple[list[Command], float]], answers: list[tuple[int, int, bool]], kept: int
) -> None:
    """Each answer is asked for at one time and arrives at a later one, after others that were asked for later."""
    steps = [decide(empty(), [register(1)], 0.0).snapshot]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TOMBSTONES_KEPT", kept)
        for batch, pause in batches:
            steps.append(decide(steps[-1], batch, pause).snapshot)
    one = KnownMap(public_key(1))
    under_way: list[tuple[MapUpdate, MapVersion | None]] = []
    for position, (asked, arrives, is_whole) in enumerate(answers):
        server = steps[min(position * asked // 20, len(steps) - 1)]
        since = None if is_whole else one.since
        if public_key(1) in server.records:
            under_way.append((changes_since(server, public_key(1), since), since))
        if under_way:
            arrive(one, *under_way.pop(arrives % len(under_way)))
    end = steps[-1]
    if public_key(1) in end.records:
        if not settle(one, end):
            assert settle(one, end)
        fresh = apply(None, changes_since(end, public_key(1), None), public_key(1))
        assert one.map is not None
        assert (one.map.me, dict(one.map.peers), one.since) == (fresh.me, dict(fresh.peers), fresh.version)


def arrive(one: KnownMap, update: MapUpdate, since: MapVersion | None) -> bool:
    try:
        one.take(update, since, at(1))
    except InvalidValue:
        return False
    return True


def settle(one: KnownMap, server: Snapshot) -> bool:
    return arrive(one, changes_since(server, public_key(1), one.since), one.since)


def test_a_map_survives_being_written_down() -> None:
    network_map = apply(None, snapshot(5, 2, 3), key(1))
    assert apply(None, whole(network_map), key(1)) == network_map

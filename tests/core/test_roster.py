"""Whom a relay serves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import empty, public_key
from tests.core.test_registry import BATCHES
from tests.samples import NETWORK, peer
from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Command
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.roster import KnownRoster, Roster, apply
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind

NOW = Instant(1.0, 1e9)


def snapshot(revision: int, *numbers: int) -> MapUpdate:
    return MapUpdate(
        kind=UpdateKind.SNAPSHOT, epoch="e", revision=revision, network=NETWORK, upsert=tuple(map(peer, numbers))
    )


def change(revision: int, *numbers: int, remove: tuple[PeerId, ...] = (), epoch: str = "e") -> MapUpdate:
    return MapUpdate(
        kind=UpdateKind.DELTA, epoch=epoch, revision=revision, upsert=tuple(map(peer, numbers)), remove=remove
    )


def keys(roster: Roster) -> set[object]:
    return set(roster.peers.values())


def test_the_whole_map_is_all_peers() -> None:
    roster = apply(None, snapshot(5, 1, 2))
    assert keys(roster) == {peer(1).public_key, peer(2).public_key}
    assert roster.version == MapVersion("e", 5)
    assert keys(apply(roster, snapshot(2, 3))) == {peer(3).public_key}


def test_a_change_adds_and_removes() -> None:
    before = apply(None, snapshot(5, 1, 2))
    after = apply(before, change(6, 3, remove=(peer(1).id,)))
    assert keys(after) == {peer(2).public_key, peer(3).public_key}
    assert keys(before) == {peer(1).public_key, peer(2).public_key}
    assert apply(after, change(6, remove=(PeerId("never-seen"),))) == after


@pytest.mark.parametrize("update", [change(4, 3), change(6, 3, epoch="other")])
def test_what_does_not_follow_is_refused(update: MapUpdate) -> None:
    with pytest.raises(InvalidValue, match="does not follow"):
        apply(apply(None, snapshot(5, 1)), update)
    with pytest.raises(InvalidValue, match="does not follow"):
        apply(None, change(1))


@settings(max_examples=100, deadline=None)
@given(BATCHES, st.sets(st.integers(0, 20)))
def test_what_follows_the_mesh_has_its_keys(batches: list[tuple[list[Command], float]], missed: set[int]) -> None:
    mesh, known = empty(), KnownRoster()
    for number, (batch, pause) in enumerate(batches):
        mesh = decide(mesh, batch, pause).snapshot
        if number not in missed and public_key(1) in mesh.records:
            known.take(changes_since(mesh, public_key(1), known.since), known.since, NOW)
            assert known.map is not None
            assert dict(known.map.peers) == {record.peer.id: record.peer.public_key for record in mesh.records.values()}

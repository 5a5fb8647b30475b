"""What one peer is told, and what it makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import EPOCH, empty, public_key, register, relay
from tests.core.test_registry import BATCHES
from wireguard_mesh.core import registry
from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Command, DropRelay, Leave, PutRelay
from wireguard_mesh.core.netmap import apply
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import NotFound
from wireguard_mesh.model.peers import MapVersion, NetworkMap
from wireguard_mesh.protocol.api import UpdateKind


def joined(*seeds: int) -> Snapshot:
    snapshot = empty()
    for seed in seeds:
        snapshot = decide(snapshot, [register(seed)], 0.0).snapshot
    return snapshot


def since(snapshot: Snapshot) -> MapVersion:
    return MapVersion(snapshot.epoch, snapshot.revision)


def test_who_has_nothing_gets_everything_itself_too() -> None:
    update = changes_since(joined(1, 2, 3), public_key(2), None)
    assert update.kind is UpdateKind.SNAPSHOT
    assert update.network is not None
    assert [peer.public_key for peer in update.upsert] == [public_key(1), public_key(2), public_key(3)]


def test_who_is_up_to_date_is_told_so() -> None:
    snapshot = joined(1, 2)
    update = changes_since(snapshot, public_key(1), since(snapshot))
    assert (update.kind, update.revision, update.upsert) == (UpdateKind.CURRENT, 2, ())


def test_a_delta_holds_what_changed_and_who_left() -> None:
    old = joined(1, 2, 3)
    left_id = old.record(public_key(2)).peer.id
    new = decide(old, [register(4), Leave(public_key=public_key(2), signed=True)], 0.0).snapshot
    update = changes_since(new, public_key(1), since(old))
    assert update.kind is UpdateKind.DELTA
    assert [peer.public_key for peer in update.upsert] == [public_key(4)]
    assert update.remove == (left_id,)
    assert update.network is None


def test_a_peer_is_told_of_its_own_changes() -> None:
    old = joined(1, 2)
    new = decide(old, [register(1, hostname="new")], 0.0).snapshot
    update = changes_since(new, public_key(1), since(old))
    assert (update.kind, [peer.hostname for peer in update.upsert]) == (UpdateKind.DELTA, ["new"])


def test_relays_are_told_to_who_does_not_know_them() -> None:
    old = joined(1)
    new = decide(old, [PutRelay(relay=relay(1))], 0.0).snapshot
    assert changes_since(old, public_key(1), None).relays == ()
    assert changes_since(new, public_key(1), None).relays == (relay(1),)
    update = changes_since(new, public_key(1), since(old))
    assert (update.kind, update.relays, update.upsert) == (UpdateKind.DELTA, (relay(1),), ())
    assert changes_since(new, public_key(1), since(new)).relays is None
    gone = decide(new, [DropRelay(id=relay(1).id)], 0.0).snapshot
    assert changes_since(gone, public_key(1), since(new)).relays == ()


@pytest.mark.parametrize("have", [MapVersion("other", 1), MapVersion(EPOCH, 99)])
def test_who_has_something_else_gets_everything(have: MapVersion) -> None:
    assert changes_since(joined(1, 2), public_key(1), have).kind is UpdateKind.SNAPSHOT


def test_who_is_behind_the_tombstones_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TOMBSTONES_KEPT", 1)
    old = joined(1, 2, 3)
    middle = decide(old, [Leave(public_key=public_key(2), signed=True)], 0.0).snapshot
    new = decide(middle, [Leave(public_key=public_key(3), signed=True)], 0.0).snapshot
    assert changes_since(new, public_key(1), since(old)).kind is UpdateKind.SNAPSHOT
    assert changes_since(new, public_key(1), since(middle)).kind is UpdateKind.DELTA


def test_who_is_not_registered_is_told_nothing() -> None:
    with pytest.raises(NotFound, match="register again"):
        changes_since(joined(1), public_key(2), None)


def test_all_who_have_the_same_are_told_the_same() -> None:
    old = joined(1, 2, 3)
    new = decide(old, [register(2, hostname="new")], 0.0).snapshot
    assert changes_since(new, public_key(1), since(old)) == changes_since(new, public_key(2), since(old))


@given(BATCHES, st.lists(st.lists(st.integers(1, 6), max_size=3), max_size=12), st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_any_way_of_polling_ends_in_the_same_map(
    batches: list[tuple[list[Command], float]], polls: list[list[int]], kept: int
) -> None:
    snapshot = empty()
    maps: dict[int, NetworkMap] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TOMBSTONES_KEPT", kept)
        for position, (batch, pause) in enumerate(batches):
            snapshot = decide(snapshot, batch, pause).snapshot
            for seed in polls[position] if position < len(polls) else []:
                poll(snapshot, maps, seed)
    for seed in range(1, 7):
        poll(snapshot, maps, seed)
        if public_key(seed) in snapshot.records:
            assert maps[seed] == fresh(snapshot, seed)


def poll(snapshot: Snapshot, maps: dict[int, NetworkMap], seed: int) -> None:
    if public_key(seed) not in snapshot.records:
        return
    have = maps.get(seed)
    update = changes_since(snapshot, public_key(seed), have.version if have else None)
    maps[seed] = apply(have, update, public_key(seed))


def fresh(snapshot: Snapshot, seed: int) -> NetworkMap:
    return apply(None, changes_since(snapshot, public_key(seed), None), public_key(seed))

"""Snapshots put in order what a database holds."""

from __future__ import annotations

import msgspec
import pytest

from tests.core.samples import EPOCH, NETWORK, empty, public_key, register, relay
from wireguard_mesh.core.commands import Leave
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Changes, Snapshot
from wireguard_mesh.model.errors import InvalidValue, NotFound
from wireguard_mesh.model.names import PeerId


def test_records_and_tombstones_are_in_the_order_of_their_revisions() -> None:
    one = decide(empty(), [register(1)], 0.0).snapshot
    two = decide(one, [register(2)], 0.0).snapshot
    shuffled = Snapshot.of(
        epoch=EPOCH,
        network=NETWORK,
        revision=2,
        records=reversed(list(two.records.values())),
        tombstones={PeerId("peer-000002"): 9, PeerId("peer-000001"): 3},
    )
    assert list(shuffled.records) == [public_key(1), public_key(2)]
    assert list(shuffled.tombstones.values()) == [3, 9]


def test_an_address_used_twice_is_refused() -> None:
    record = decide(empty(), [register(1)], 0.0).snapshot.record(public_key(1))
    twin = msgspec.structs.replace(record, peer=msgspec.structs.replace(record.peer, public_key=public_key(2)))
    with pytest.raises(InvalidValue, match="used twice"):
        Snapshot.of(epoch=EPOCH, network=NETWORK, records=[record, twin])


def test_records_are_found_by_key_and_by_id() -> None:
    snapshot = decide(empty(), [register(1)], 0.0).snapshot
    record = snapshot.record(public_key(1))
    assert snapshot.record_of(record.peer.id) is record
    with pytest.raises(NotFound, match="register again"):
        snapshot.record(public_key(2))
    with pytest.raises(NotFound, match="register again"):
        snapshot.record_of(PeerId("peer-999999"))


def test_relays_are_found_by_key_and_told_once() -> None:
    snapshot = Snapshot.of(epoch=EPOCH, network=NETWORK, revision=5, relays=(relay(2), relay(1)), relays_revision=4)
    assert snapshot.relays == (relay(1), relay(2))
    assert snapshot.relay_of(relay(2).public_key) == relay(2)
    assert snapshot.relay_of(relay(2).vantage_points[1].public_key) is None
    assert [snapshot.relays_since(seen) for seen in (3, 4)] == [snapshot.relays, None]


def test_changes_are_empty_without_rows() -> None:
    assert Changes(1, 1, 0).is_empty
    assert not Changes(1, 1, 0, released=(1,)).is_empty
    assert not Changes(1, 1, 1, purge=True).is_empty
    assert not Changes(1, 1, 1, relays_put=(relay(1),)).is_empty
    assert not Changes(1, 1, 1, relays_dropped=(relay(1).id,)).is_empty


def test_what_changed_since_a_revision_is_found() -> None:
    one = decide(empty(), [register(1), register(2)], 0.0).snapshot
    two = decide(one, [register(3)], 0.0).snapshot
    three = decide(two, [Leave(public_key=public_key(1), signed=True), register(2, hostname="new")], 0.0).snapshot
    assert [record.peer.public_key for record in three.changed_since(1)] == [public_key(2), public_key(3)]
    assert [record.peer.public_key for record in three.changed_since(2)] == [public_key(2)]
    assert list(three.changed_since(3)) == []
    assert list(three.removed_since(2)) == [one.record(public_key(1)).peer.id]
    assert list(three.removed_since(3)) == []
    assert len(list(three.changed_since(0))) == 2

"""What commands do to the mesh."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import NETWORK, empty, observe, public_key, random_bytes, register, relay
from wireguard_mesh.core import registry
from wireguard_mesh.core.commands import (
    Command,
    DropRelay,
    Heartbeat,
    Leave,
    MarkOffline,
    PutRelay,
    heartbeat_changes,
)
from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.registry import Reply, decide
from wireguard_mesh.core.snapshot import Changes, Record, Snapshot
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict, Exhausted, MeshError, NotFound, NotPermitted
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.relays import NatClass, Relay, RelayId

ENDPOINT = Endpoint.parse("192.0.2.1:51820")


def record_of(reply: Reply | MeshError) -> Record:
    assert isinstance(reply, Record), reply
    return reply


def joined(*seeds: int, signed: bool = True) -> Snapshot:
    return decide(empty(), [register(seed, signed=signed) for seed in seeds], 0.0).snapshot


def heartbeat(seed: int, *, signed: bool = True, endpoints: tuple[Endpoint, ...] | None = None) -> Heartbeat:
    return Heartbeat(public_key=public_key(seed), signed=signed, endpoints=endpoints)


def test_peers_get_addresses_from_the_lowest_on_in_one_revision() -> None:
    outcome = decide(empty(), [register(1), register(2)], 5.0)
    first, second = (record_of(reply) for reply in outcome.replies)
    assert (first.peer.ipv4, second.peer.ipv4) == (IPv4Address("10.100.0.1"), IPv4Address("10.100.0.2"))
    assert first.peer.ipv6 == IPv6Address("fd00:1:2::1")
    assert first.created == 5.0
    assert outcome.snapshot.revision == 1
    assert {record.peer.revision for record in outcome.snapshot.records.values()} == {1}
    assert outcome.changes.added == (first, second)


def test_registering_again_with_the_same_changes_nothing() -> None:
    snapshot = joined(1)
    outcome = decide(snapshot, [register(1)], 9.0)
    assert outcome.snapshot is snapshot
    assert outcome.changes.is_empty
    assert record_of(outcome.replies[0]) is snapshot.record(public_key(1))


def test_registering_again_with_other_data_keeps_id_and_address() -> None:
    snapshot = joined(1)
    outcome = decide(snapshot, [register(1, hostname="other", exit_node=True, endpoints=("192.0.2.1:1",))], 9.0)
    before, after = snapshot.record(public_key(1)).peer, record_of(outcome.replies[0]).peer
    assert (after.id, after.ipv4) == (before.id, before.ipv4)
    assert (after.hostname, after.exit_node, after.endpoints) == ("other", True, (Endpoint.parse("192.0.2.1:1"),))
    assert after.revision == outcome.snapshot.revision == 2
    assert outcome.changes.changed == outcome.replies


def test_what_a_registration_leaves_out_stays() -> None:
    snapshot = decide(empty(), [register(1, endpoints=("192.0.2.1:1",), version="7")], 0.0).snapshot
    outcome = decide(snapshot, [register(1, endpoints=None, version=None, hostname="new")], 0.0)
    record = record_of(outcome.replies[0])
    assert record.peer.endpoints == (Endpoint.parse("192.0.2.1:1"),)
    assert record.version == "7"
    newcomer = record_of(decide(empty(), [register(2, endpoints=None, version=None)], 0.0).replies[0])
    assert (newcomer.peer.endpoints, newcomer.version) == ((), "")


def test_what_nobody_sees_is_written_without_a_revision() -> None:
    snapshot = joined(1, 2, signed=False)
    outcome = decide(snapshot, [register(1, signed=True, version="2")], 0.0)
    assert outcome.snapshot.revision == snapshot.revision
    assert outcome.snapshot.record(public_key(1)).signed
    assert list(outcome.snapshot.records) == [public_key(1), public_key(2)]
    assert [record.version for record in outcome.changes.changed] == ["2"]


def test_a_plain_request_never_touches_a_key_that_signed() -> None:
    snapshot = joined(1)
    commands: list[Command] = [
        register(1, signed=False, hostname="evil"),
        heartbeat(1, signed=False, endpoints=(ENDPOINT,)),
        Leave(public_key=public_key(1), signed=False),
    ]
    outcome = decide(snapshot, commands, 0.0)
    assert all(isinstance(reply, NotPermitted) for reply in outcome.replies)
    assert outcome.snapshot is snapshot
    with pytest.raises(NotPermitted):
        heartbeat_changes(snapshot.record(public_key(1)), heartbeat(1, signed=False))


def test_what_relays_see_of_a_peer_is_in_its_record() -> None:
    snapshot = decide(joined(1), [MarkOffline(public_key=public_key(1))], 0.0).snapshot
    outcome = decide(snapshot, [observe(1, "192.0.2.9:7", nat=NatClass.HARD)], 0.0)
    peer = record_of(outcome.replies[0]).peer
    assert (peer.reflexive, peer.nat) == ((Endpoint.parse("192.0.2.9:7"),), NatClass.HARD)
    assert peer.revision == outcome.snapshot.revision == 3
    assert not peer.online  # it was not heard by the server
    assert decide(outcome.snapshot, [observe(1, "192.0.2.9:7", nat=NatClass.HARD)], 0.0).changes.is_empty
    assert isinstance(decide(empty(), [observe(1)], 0.0).replies[0], NotFound)


def test_relays_have_a_revision_of_their_own() -> None:
    first = decide(joined(1), [PutRelay(relay=relay(2)), PutRelay(relay=relay(1))], 0.0)
    assert first.snapshot.relays == (relay(1), relay(2))
    assert first.snapshot.relays_revision == first.snapshot.revision == 2
    assert first.replies == (relay(2), relay(1))
    second = decide(first.snapshot, [register(2)], 0.0)
    assert (second.snapshot.relays_revision, second.snapshot.revision) == (2, 3)
    assert decide(second.snapshot, [PutRelay(relay=relay(1))], 0.0).snapshot is second.snapshot
    third = decide(second.snapshot, [DropRelay(id=relay(1).id)], 0.0)
    assert third.snapshot.relays == (relay(2),)
    assert third.changes.relays_dropped == (relay(1).id,)
    assert isinstance(decide(third.snapshot, [DropRelay(id=relay(1).id)], 0.0).replies[0], NotFound)


def test_a_relay_that_comes_and_goes_in_one_batch_changes_nothing() -> None:
    snapshot = joined(1)
    assert decide(snapshot, [PutRelay(relay=relay(1)), DropRelay(id=relay(1).id)], 0.0).snapshot is snapshot


def test_the_key_of_a_relay_is_no_peers_and_the_other_way_round() -> None:
    snapshot = decide(joined(501), [PutRelay(relay=relay(2))], 0.0).snapshot
    outcome = decide(snapshot, [PutRelay(relay=relay(1)), register(502), register(602)], 0.0)
    assert [type(reply) for reply in outcome.replies] == [Conflict] * 3


def test_one_bad_command_fails_alone() -> None:
    outcome = decide(empty(), [heartbeat(9), register(1), register(2, allocate=False)], 0.0)
    assert isinstance(outcome.replies[0], NotFound)
    assert record_of(outcome.replies[1]).number == 1
    assert isinstance(outcome.replies[2], NotFound)


def test_a_full_network_refuses_only_those_that_are_new() -> None:
    small = MeshNetwork(IPv4Network("10.0.0.0/30"), IPv6Network("fd00::/64"))
    outcome = decide(empty(small), [register(1), register(2), register(3), register(1)], 0.0)
    assert isinstance(outcome.replies[2], Exhausted)
    assert record_of(outcome.replies[3]).number == 1


def test_a_heartbeat_has_something_to_write_only_if_it_changes_something() -> None:
    snapshot = joined(1)
    record = snapshot.record(public_key(1))
    assert not heartbeat_changes(record, heartbeat(1))
    assert heartbeat_changes(record, heartbeat(1, endpoints=(ENDPOINT,)))
    outcome = decide(snapshot, [heartbeat(1, endpoints=(ENDPOINT,))], 0.0)
    assert record_of(outcome.replies[0]).peer.endpoints == (ENDPOINT,)
    exit_node = Heartbeat(public_key=public_key(1), signed=True, exit_node=True)
    assert record_of(decide(snapshot, [exit_node], 0.0).replies[0]).peer.exit_node


def test_silence_takes_a_peer_offline_and_a_heartbeat_brings_it_back() -> None:
    snapshot = joined(1)
    gone = decide(snapshot, [MarkOffline(public_key=public_key(1))], 0.0).snapshot
    assert not gone.record(public_key(1)).peer.online
    assert gone.revision == 2
    assert decide(gone, [MarkOffline(public_key=public_key(1))], 0.0).snapshot is gone
    assert heartbeat_changes(gone.record(public_key(1)), heartbeat(1))
    back = decide(gone, [heartbeat(1)], 0.0).snapshot
    assert back.record(public_key(1)).peer.online


def test_leaving_quarantines_the_address_and_coming_back_regains_it_under_a_new_id() -> None:
    snapshot = joined(1, 2)
    left = decide(snapshot, [Leave(public_key=public_key(1), signed=True)], 100.0, quarantine=60.0)
    old = snapshot.record(public_key(1))
    assert left.replies == (old,)
    assert left.changes.removed == (old.peer.id,)
    assert left.changes.tombstones == ((old.peer.id, 2),)
    assert left.changes.quarantined == (Lease(1, public_key(1), 160.0),)
    other = decide(left.snapshot, [register(3)], 101.0)
    assert record_of(other.replies[0]).number == 3
    back = decide(other.snapshot, [register(1)], 102.0)
    assert record_of(back.replies[0]).number == 1
    assert record_of(back.replies[0]).peer.id != old.peer.id
    assert back.changes.released == (1,)


def test_ids_avoid_those_in_use_and_those_of_the_dead() -> None:
    same = bytes(registry.PEER_ID_RANDOM_LENGTH)
    outcome = decide(empty(), [register(seed, random=same) for seed in (1, 2, 3)], 0.0)
    assert record_of(outcome.replies[0]).peer.id == "peer-000000"
    assert record_of(outcome.replies[1]).peer.id == "peer-0000000000"
    assert isinstance(outcome.replies[2], Conflict)
    left = decide(outcome.snapshot, [Leave(public_key=public_key(1), signed=True)], 0.0).snapshot
    assert isinstance(decide(left, [register(1, random=same)], 0.0).replies[0], Conflict)


def test_an_id_needs_its_random_bytes() -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        decide(empty(), [register(1, random=b"few")], 0.0)


def test_the_oldest_tombstones_are_forgotten_whole_revisions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TOMBSTONES_KEPT", 2)
    snapshot = joined(1, 2, 3, 4)
    two = decide(snapshot, [Leave(public_key=public_key(seed), signed=True) for seed in (1, 2)], 0.0)
    assert not two.changes.purge
    three = decide(two.snapshot, [Leave(public_key=public_key(3), signed=True)], 0.0)
    assert three.changes.purge
    assert three.snapshot.purged == 2
    assert list(three.snapshot.tombstones.values()) == [3]


# --- any sequence of commands -------------------------------------------------------------------------------------


SEEDS = st.integers(1, 6)
SIGNED = st.booleans()


def commands() -> st.SearchStrategy[Command]:
    endpoints = st.sampled_from([None, (), (ENDPOINT,)])
    return st.one_of(
        st.builds(
            lambda seed, signed, name, salt: register(
                seed, signed=signed, hostname=name, random=random_bytes((seed, salt))
            ),
            SEEDS,
            SIGNED,
            st.sampled_from(["a", "b"]),
            st.integers(0, 1000),
        ),
        st.builds(lambda seed, signed, ends: heartbeat(seed, signed=signed, endpoints=ends), SEEDS, SIGNED, endpoints),
        st.builds(lambda seed, signed: Leave(public_key=public_key(seed), signed=signed), SEEDS, SIGNED),
        st.builds(lambda seed: MarkOffline(public_key=public_key(seed)), SEEDS),
        st.builds(observe, SEEDS, st.sampled_from(["192.0.2.9:1", "192.0.2.9:2"])),
        st.builds(
            lambda seed, port: PutRelay(relay=relay(seed, port=port)), st.integers(1, 3), st.sampled_from([80, 90])
        ),
        st.builds(lambda seed: DropRelay(id=RelayId(f"relay-{seed}")), st.integers(1, 3)),
    )


BATCHES = st.lists(st.tuples(st.lists(commands(), max_size=6), st.sampled_from([0.0, 10.0, 200.0])), max_size=12)


class Database:
    """What the rows of changes make of an empty database, without SQL."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.records: dict[PeerId, Record] = {}
        self.tombstones: dict[PeerId, int] = {}
        self.leases: dict[int, Lease] = {}
        self.relays: dict[RelayId, Relay] = {}
        self.relays_revision = 0
        self.revision = snapshot.revision
        self.purged = snapshot.purged

    def write(self, changes: Changes) -> None:
        for peer_id in changes.removed:
            del self.records[peer_id]
        for number in (*changes.released, *(lease.number for lease in changes.quarantined)):
            self.leases.pop(number, None)
        self.leases.update((lease.number, lease) for lease in changes.quarantined)
        for record in changes.added:
            assert record.peer.id not in self.records
            self.records[record.peer.id] = record
        for record in changes.changed:
            assert self.records[record.peer.id].number == record.number
            self.records[record.peer.id] = record
        if changes.purge:
            self.tombstones = {key: at for key, at in self.tombstones.items() if at > changes.purged}
        self.tombstones.update(changes.tombstones)
        for name in changes.relays_dropped:
            del self.relays[name]
        self.relays.update((each.id, each) for each in changes.relays_put)
        if changes.relays_put or changes.relays_dropped:
            self.relays_revision = changes.revision
        self.revision, self.purged = changes.revision, changes.purged

    def read(self) -> Snapshot:
        return Snapshot.of(
            epoch=self.snapshot.epoch,
            network=self.snapshot.network,
            revision=self.revision,
            purged=self.purged,
            records=self.records.values(),
            tombstones=self.tombstones,
            leases=self.leases.values(),
            relays=self.relays.values(),
            relays_revision=self.relays_revision,
        )


@given(BATCHES)
@settings(max_examples=150, deadline=None)
def test_the_rows_written_are_the_snapshot(batches: list[tuple[list[Command], float]]) -> None:
    snapshot = empty(MeshNetwork(IPv4Network("10.0.0.0/29"), NETWORK.ipv6))
    database = Database(snapshot)
    now = 0.0
    for batch, pause in batches:
        now += pause
        outcome = decide(snapshot, batch, now, quarantine=100.0)
        assert len(outcome.replies) == len(batch)
        assert outcome.snapshot.revision - snapshot.revision in (0, 1)
        if outcome.changes.is_empty:
            assert outcome.snapshot is snapshot
        else:
            database.write(outcome.changes)
        snapshot = outcome.snapshot
        stored = database.read()
        assert stored.records == snapshot.records
        assert {record.peer.revision: 0 for record in stored.records.values()} == {
            record.peer.revision: 0 for record in snapshot.records.values()
        }
        assert list(stored.tombstones.values()) == list(snapshot.tombstones.values())
        assert dict(stored.pool.leases) == dict(snapshot.pool.leases)
        assert (stored.relays, stored.relays_revision) == (snapshot.relays, snapshot.relays_revision)
        check_unique(snapshot)


def check_unique(snapshot: Snapshot) -> None:
    records = snapshot.records
    assert len({record.peer.ipv4 for record in records.values()}) == len(records)
    assert {record.peer.id: key for key, record in records.items()} == dict(snapshot.keys)
    revisions = [record.peer.revision for record in records.values()]
    assert revisions == sorted(revisions)
    quarantined: set[int] = set(snapshot.pool.leases)
    assert not quarantined & {record.number for record in records.values()}
    assert all(isinstance(key, PublicKey) for key in records)

"""Following another server: what its rows lead to is what it has."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import EPOCH, NETWORK, empty, public_key, register
from tests.core.test_registry import BATCHES
from wireguard_mesh.core import registry
from wireguard_mesh.core.catch_up import News, can_catch_up, catch_up
from wireguard_mesh.core.commands import Command, Heartbeat, Leave, MarkOffline
from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Changes, Record, Snapshot
from wireguard_mesh.model.errors import Exhausted, InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.relays import Relay, RelayId


class Rows:
    """A database as the store keeps it, in memory: each row with the sequence at which it was written."""

    def __init__(self) -> None:
        self.head = (0, 0, 0)
        self.relays: dict[RelayId, Relay] = {}
        self.relays_revision = 0
        self.peers: dict[PeerId, tuple[int, Record]] = {}
        self.tombstones: dict[PeerId, tuple[int, int]] = {}
        self.quarantine: dict[int, tuple[int, Lease | None]] = {}  # None: released

    def write(self, changes: Changes) -> None:
        sequence = changes.sequence
        for peer_id in changes.removed:
            del self.peers[peer_id]
        self.quarantine |= dict.fromkeys(changes.released, (sequence, None))
        self.quarantine |= {lease.number: (sequence, lease) for lease in changes.quarantined}
        self.peers |= {record.peer.id: (sequence, record) for record in (*changes.added, *changes.changed)}
        if changes.purge:
            self.tombstones = {key: grave for key, grave in self.tombstones.items() if grave[1] > changes.purged}
        self.tombstones |= {peer_id: (sequence, revision) for peer_id, revision in changes.tombstones}
        self.head = (sequence, changes.revision, changes.purged)
        if changes.relays_put or changes.relays_dropped:
            gone = {*changes.relays_dropped, *(relay.id for relay in changes.relays_put)}
            kept = {name: relay for name, relay in self.relays.items() if name not in gone}
            self.relays = kept | {relay.id: relay for relay in changes.relays_put}
            self.relays_revision = changes.revision

    def since(self, snapshot: Snapshot) -> News:
        seen = snapshot.sequence
        is_same = self.relays_revision == snapshot.relays_revision
        quarantine = {number: lease for number, (sequence, lease) in self.quarantine.items() if sequence > seen}
        return News(
            EPOCH,
            *self.head,
            records=tuple(record for sequence, record in self.peers.values() if sequence > seen),
            tombstones=tuple((key, died) for key, (sequence, died) in self.tombstones.items() if sequence > seen),
            leases=tuple(lease for lease in quarantine.values() if lease),
            released=tuple(number for number, lease in quarantine.items() if not lease),
            relays=None if is_same else tuple(self.relays[name] for name in sorted(self.relays)),
            relays_revision=self.relays_revision,
        )

    def load(self) -> Snapshot:
        sequence, revision, purged = self.head
        return Snapshot.of(
            epoch=EPOCH,
            network=NETWORK,
            sequence=sequence,
            revision=revision,
            purged=purged,
            records=[record for _, record in self.peers.values()],
            tombstones={peer_id: died for peer_id, (_, died) in self.tombstones.items()},
            leases=[lease for _, lease in self.quarantine.values() if lease],
            relays=self.relays.values(),
            relays_revision=self.relays_revision,
        )


def assert_same(one: Snapshot, other: Snapshot) -> None:
    """Not only the same content, but also an order that serves `changed_since`, and the same numbers to give."""
    assert (one.epoch, one.sequence, one.revision, one.purged) == (
        other.epoch,
        other.sequence,
        other.revision,
        other.purged,
    )
    assert one.records == other.records
    assert (one.relays, one.relays_revision) == (other.relays, other.relays_revision)
    assert one.keys == other.keys
    assert one.tombstones == other.tombstones
    for snapshot in (one, other):
        revisions = [record.peer.revision for record in snapshot.records.values()]
        assert revisions == sorted(revisions)
        assert list(snapshot.tombstones.values()) == sorted(snapshot.tombstones.values())
    assert dict(one.pool.leases) == dict(other.pool.leases)
    assert all_numbers(one) == all_numbers(other)


def all_numbers(snapshot: Snapshot) -> list[int]:
    """The numbers that strangers would get, one after the other."""
    pool = snapshot.pool.copy()
    numbers: list[int] = []
    while True:
        try:
            numbers.append(pool.take(PublicKey(b"%032d" % len(numbers)), -1.0))
        except Exhausted:
            return numbers


@given(BATCHES, st.lists(st.integers(0, 3), min_size=1), st.integers(0, 4))
def test_catching_up_at_any_time_is_as_good_as_loading(
    batches: list[tuple[list[Command], float]], looks: list[int], kept: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TOMBSTONES_KEPT", kept)
        rows = Rows()
        writer = reader = empty()
        now = 0.0
        for step, (batch, pause) in enumerate(batches):
            now += pause
            outcome = decide(writer, batch, now, quarantine=100.0)
            if not outcome.changes.is_empty:
                rows.write(outcome.changes)
            writer = outcome.snapshot
            if looks[step % len(looks)] == 0:
                reader = follow(reader, rows)
                assert_same(reader, writer)
    assert_same(follow(reader, rows), rows.load())
    assert_same(writer, rows.load())


def follow(snapshot: Snapshot, rows: Rows) -> Snapshot:
    sequence, _, purged = rows.head
    if not can_catch_up(snapshot, EPOCH, sequence, purged):
        return rows.load()
    return catch_up(snapshot, rows.since(snapshot))


def test_two_that_write_in_turn_agree() -> None:
    rows = Rows()
    one = two = empty()
    for turn in range(6):
        one = decide(follow(one, rows), [register(turn), register(100 + turn % 2, hostname=f"h{turn}")], 0.0).snapshot
        rows.write(
            decide(follow(two, rows), [register(turn), register(100 + turn % 2, hostname=f"h{turn}")], 0.0).changes
        )
        two = follow(two, rows)
        assert_same(one, two)
    gone = [Leave(public_key=public_key(seed), signed=True) for seed in (1, 3, 100)]
    outcome = decide(one, [*gone, MarkOffline(public_key=public_key(4))], 0.0, quarantine=10.0)
    rows.write(outcome.changes)
    two = follow(two, rows)
    assert_same(outcome.snapshot, two)
    # 3 takes its number again, and a stranger one whose quarantine is over.
    outcome = decide(two, [register(3), register(50), Heartbeat(public_key=public_key(4), signed=True)], 20.0)
    rows.write(outcome.changes)
    assert_same(follow(one, rows), outcome.snapshot)


def test_only_a_database_that_goes_on_can_be_followed() -> None:
    snapshot = decide(empty(), [register(1)], 0.0).snapshot
    assert can_catch_up(snapshot, EPOCH, 1, 0)
    assert can_catch_up(snapshot, EPOCH, 9, 1)
    assert not can_catch_up(snapshot, EPOCH, 9, 2)  # who left at revision 2 is not known any more
    assert not can_catch_up(snapshot, EPOCH, 0, 0)
    assert not can_catch_up(snapshot, "other", 9, 0)


def test_what_contradicts_itself_is_refused() -> None:
    snapshot = decide(empty(), [register(1), register(2)], 0.0).snapshot
    record = snapshot.record(public_key(2))
    twin = msgspec.structs.replace(record, peer=msgspec.structs.replace(record.peer, public_key=public_key(3)))
    with pytest.raises(InvalidValue, match="an id two peers"):
        catch_up(snapshot, News(EPOCH, 2, 2, 0, records=(twin,)))
    other = msgspec.structs.replace(twin, peer=msgspec.structs.replace(twin.peer, id=PeerId("peer-x"), revision=2))
    with pytest.raises(InvalidValue, match="used twice"):
        catch_up(snapshot, News(EPOCH, 2, 2, 0, records=(other,)))

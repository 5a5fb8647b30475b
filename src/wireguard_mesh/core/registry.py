"""What a command does to the mesh: a batch of them turns a snapshot into the next one, and says which rows to write.

Each command is decided by itself: one that is refused fails alone and changes nothing. A batch has one revision, and
only if it changes something that a peer can see. Whether a key may join at all is decided before, by admission.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from wireguard_mesh.core.commands import (
    Command,
    DropRelay,
    Heartbeat,
    Leave,
    Observe,
    PeerCommand,
    PutRelay,
    Register,
    after_heartbeat,
    after_observe,
    after_register,
    check_signed,
)
from wireguard_mesh.core.ipam import QUARANTINE_SECONDS, Pool
from wireguard_mesh.core.relay_table import RelayTable
from wireguard_mesh.core.snapshot import Changes, Record, Snapshot
from wireguard_mesh.model.errors import Conflict, MeshError, NotFound
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import Relay

PEER_ID_RANDOM_LENGTH: Final = 32  # eight candidates of 4 bytes each
_ID_CANDIDATE_LENGTH: Final = 4
_ID_RANGE: Final = 1_000_000  # six digits
TOMBSTONES_KEPT: Final = 10_000  # a client further behind gets the whole map, which is then hardly larger


Reply = Record | Relay


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch came to. `replies` answer the commands in their order: the record or relay as it now is (or was, if
    it left), or why the command was refused. `snapshot` is the very one given if nothing changed."""

    snapshot: Snapshot
    changes: Changes
    replies: tuple[Reply | MeshError, ...]


def decide(
    snapshot: Snapshot, commands: Sequence[Command], now: float, quarantine: float = QUARANTINE_SECONDS
) -> Outcome:
    """Carry out a batch. `now` in Unix seconds; `quarantine` in seconds."""
    draft = _Draft(snapshot, now, quarantine)
    replies: list[Reply | MeshError] = []
    for command in commands:
        try:
            replies.append(draft.carry_out(command))
        except MeshError as error:
            replies.append(error)
    return draft.finish(tuple(replies))


def _oldest_first(snapshot: Snapshot, base: Snapshot) -> list[PeerId]:
    return list(snapshot.removed_since(base.revision))[::-1]


class _Draft:
    """A snapshot in the making. Its tables are the base's own until they change, and then copies: most batches change
    records only."""

    def __init__(self, base: Snapshot, now: float, quarantine: float) -> None:
        self._base = base
        self._now = now
        self._quarantine = quarantine
        self._records = dict(base.records)
        self._keys = base.keys
        self._tombstones = base.tombstones
        self._pool: Pool | None = None
        self._dirty: dict[PublicKey, None] = {}  # in the order of their first change
        self._relays = RelayTable(base.relays)
        self._visible = False

    def carry_out(self, command: Command) -> Reply:
        match command:
            case PutRelay():
                return self._relays.put(command, self._records)
            case DropRelay():
                return self._relays.drop(command)
        return self._carry_out(command)

    def _carry_out(self, command: PeerCommand) -> Record:
        if isinstance(command, Register):
            return self._register(command)
        record = self._record(command.public_key)
        match command:
            case Heartbeat():
                return self._put(after_heartbeat(record, command))
            case Observe():
                return self._put(after_observe(record, command))
            case Leave():
                return self._leave(record, command)
        return self._put(msgspec.structs.replace(record, peer=msgspec.structs.replace(record.peer, online=False)))

    def finish(self, replies: tuple[Reply | MeshError, ...]) -> Outcome:
        base = self._base
        self._visible = self._visible or self._relays.is_changed
        if not (self._dirty or self._relays.is_changed):
            return Outcome(base, Changes(base.sequence, base.revision, base.purged), replies)
        purged = self._bury()
        snapshot = Snapshot(
            epoch=base.epoch,
            sequence=base.sequence + 1,
            revision=self._revision if self._visible else base.revision,
            purged=purged,
            network=base.network,
            records=self._records,
            keys=self._keys,
            tombstones=self._tombstones,
            pool=self._pool or base.pool,
            relays=self._relays.all(),
            relays_revision=self._revision if self._relays.is_changed else base.relays_revision,
        )
        return Outcome(snapshot, self._changes(snapshot), replies)

    @property
    def _revision(self) -> int:
        return self._base.revision + 1

    def _record(self, public_key: PublicKey) -> Record:
        record = self._records.get(public_key)
        if record is None:
            raise NotFound("this key is not registered here", "register again")
        return record

    def _register(self, command: Register) -> Record:
        record = self._records.get(command.public_key)
        if record is None:
            return self._join(command)
        return self._put(after_register(record, command))

    def _join(self, command: Register) -> Record:
        if not command.allocate:
            raise NotFound("this key is not registered here", "set request_ip to true to register it")
        self._relays.refuse_key(command.public_key)
        peer_id = self._new_id(command.random)
        number = self._own_pool().take(command.public_key, self._now)
        peer = Peer(
            id=peer_id,
            public_key=command.public_key,
            hostname=command.hostname,
            os=command.os,
            ipv4=self._base.network.ipv4_address(number),
            ipv6=self._base.network.ipv6_address(number),
            endpoints=command.endpoints or (),
            mapped=command.mapped or (),
            distances=command.distances or (),
            exit_node=command.exit_node,
        )
        self._own_keys()[peer_id] = command.public_key
        return self._put(
            Record(
                peer=peer,
                number=number,
                signed=command.signed,
                version=command.version or "",
                created=self._now,
            )
        )

    def _leave(self, record: Record, command: Leave) -> Record:
        check_signed(record, command.signed)
        del self._records[command.public_key]
        del self._own_keys()[record.peer.id]
        self._own_tombstones()[record.peer.id] = self._revision
        self._own_pool().give_back(record.number, command.public_key, self._now + self._quarantine)
        self._dirty[command.public_key] = None
        self._visible = True
        return record

    def _put(self, record: Record) -> Record:
        key = record.peer.public_key
        standing = self._records.get(key)
        if standing is not None and standing == record:
            return standing
        self._dirty[key] = None
        if standing is None or standing.peer != record.peer:
            self._visible = True
            record = msgspec.structs.replace(record, peer=msgspec.structs.replace(record.peer, revision=self._revision))
            self._records.pop(key, None)  # the table is in the order of revisions: to its end
        self._records[key] = record
        return record

    def _own_keys(self) -> dict[PeerId, PublicKey]:
        if self._keys is self._base.keys:
            self._keys = dict(self._keys)
        return self._keys

    def _own_tombstones(self) -> dict[PeerId, int]:
        if self._tombstones is self._base.tombstones:
            self._tombstones = dict(self._tombstones)
        return self._tombstones

    def _own_pool(self) -> Pool:
        if self._pool is None:
            self._pool = self._base.pool.copy()
        return self._pool

    def _new_id(self, random: bytes) -> PeerId:
        if len(random) != PEER_ID_RANDOM_LENGTH:
            raise ValueError(f"a peer id is made of {PEER_ID_RANDOM_LENGTH} random bytes")
        for offset in range(0, PEER_ID_RANDOM_LENGTH, _ID_CANDIDATE_LENGTH):
            candidate = int.from_bytes(random[offset : offset + _ID_CANDIDATE_LENGTH], "big")
            # Six digits as long as they suffice; beyond, all that an id may have.
            for text in (f"peer-{candidate % _ID_RANGE:06}", f"peer-{candidate:010}"):
                peer_id = PeerId(text)
                if peer_id not in self._keys and peer_id not in self._tombstones:
                    return peer_id
        raise Conflict("no unused peer id was found", "try again")

    def _bury(self) -> int:
        excess = len(self._tombstones) - TOMBSTONES_KEPT
        purged = self._base.purged
        if excess <= 0:
            return purged
        # All graves of one revision go together: a delta is whole or not given.
        purged = list(self._tombstones.values())[excess - 1]
        self._tombstones = {grave: revision for grave, revision in self._tombstones.items() if revision > purged}
        return purged

    def _changes(self, snapshot: Snapshot) -> Changes:
        base = self._base
        before = {key: base.records[key] for key in self._dirty if key in base.records}
        after = {key: self._records[key] for key in self._dirty if key in self._records}
        same_id = [key for key in before if key in after and after[key].peer.id == before[key].peer.id]
        stays = frozenset(same_id)
        touched = sorted(self._pool.touched) if self._pool else []
        leases = snapshot.pool.leases
        return Changes(
            sequence=snapshot.sequence,
            revision=snapshot.revision,
            purged=snapshot.purged,
            added=tuple(record for key, record in after.items() if key not in stays),
            changed=tuple(after[key] for key in same_id if after[key] != before[key]),
            removed=tuple(record.peer.id for key, record in before.items() if key not in stays),
            tombstones=tuple((peer_id, snapshot.tombstones[peer_id]) for peer_id in _oldest_first(snapshot, base)),
            quarantined=tuple(leases[number] for number in touched if number in leases),
            released=tuple(number for number in touched if number not in leases),
            purge=snapshot.purged > base.purged,
            relays_put=self._relays.added(),
            relays_dropped=self._relays.dropped(),
        )

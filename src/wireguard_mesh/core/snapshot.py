"""The mesh at one revision: what every read is answered from.

A snapshot is never changed. Both of its tables that hold revisions are in the order of those revisions, oldest first,
so what changed since one is found at the end, without looking at the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from wireguard_mesh.core.ipam import Lease, Pool
from wireguard_mesh.model.errors import NotFound
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.model.relays import Relay, RelayId


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A peer, and what only the server knows of it.

    `signed`: its key has signed a request, so plain requests touch it no more. `version` is that of its software, ""
    if it never said. `created` in Unix seconds.
    """

    peer: Peer
    number: int
    signed: bool
    version: str = ""
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All peers at one revision. `tombstones` are the ids of peers that left, with the revision at which they did;
    those up to revision `purged` are forgotten. `sequence` counts the batches that were written, those too that no
    peer sees. `relays` by name, as they are since `relays_revision`."""

    epoch: str
    sequence: int
    revision: int
    purged: int
    network: MeshNetwork
    records: dict[PublicKey, Record]
    keys: dict[PeerId, PublicKey]
    tombstones: dict[PeerId, int]
    pool: Pool
    relays: tuple[Relay, ...] = ()
    relays_revision: int = 0

    @classmethod
    def of(
        cls,
        *,
        epoch: str,
        network: MeshNetwork,
        sequence: int = 0,
        revision: int = 0,
        purged: int = 0,
        records: Iterable[Record] = (),
        tombstones: Mapping[PeerId, int] | None = None,
        leases: Iterable[Lease] = (),
        relays: Iterable[Relay] = (),
        relays_revision: int = 0,
    ) -> Snapshot:
        """A snapshot of what a database holds, in any order. Raises `InvalidValue` if an address is used twice."""
        ordered = sorted(records, key=lambda record: (record.peer.revision, record.number))
        graves = sorted((tombstones or {}).items(), key=lambda grave: grave[1])
        return cls(
            epoch=epoch,
            sequence=sequence,
            revision=revision,
            purged=purged,
            network=network,
            records={record.peer.public_key: record for record in ordered},
            keys={record.peer.id: record.peer.public_key for record in ordered},
            tombstones=dict(graves),
            pool=Pool(network.capacity, (record.number for record in ordered), leases),
            relays=tuple(sorted(relays, key=lambda relay: relay.id)),
            relays_revision=relays_revision,
        )

    @property
    def version(self) -> MapVersion:
        """Which map it is, for those who have or ask for one."""
        return MapVersion(self.epoch, self.revision)

    def record(self, public_key: PublicKey) -> Record:
        """The record of a key. Raises `NotFound`: the caller is not, or no longer, registered."""
        record = self.records.get(public_key)
        if record is None:
            raise NotFound("this key is not registered here", "register again")
        return record

    def record_of(self, peer_id: PeerId) -> Record:
        """The record of a peer id. Raises `NotFound`."""
        key = self.keys.get(peer_id)
        if key is None:
            raise NotFound("there is no peer of this id", "register again")
        return self.records[key]

    def check_follower(self, public_key: PublicKey) -> None:
        """Raises `NotFound` for a key that is neither a peer's nor a relay's."""
        if public_key not in self.records and self.relay_of(public_key) is None:
            raise NotFound("this key is not registered here", "register again")

    def relay_of(self, public_key: PublicKey) -> Relay | None:
        """The relay whose key that is; there are few."""
        return next((relay for relay in self.relays if relay.public_key == public_key), None)

    def relays_since(self, revision: int) -> tuple[Relay, ...] | None:
        """All relays, if any of them changed after `revision`."""
        return self.relays if revision < self.relays_revision else None

    def changed_since(self, revision: int) -> Iterator[Record]:
        """Records that changed after `revision`, the latest first; costs as much as changed."""
        for record in reversed(self.records.values()):
            if record.peer.revision <= revision:
                return
            yield record

    def removed_since(self, revision: int) -> Iterator[PeerId]:
        """Ids of peers that left after `revision`, the latest first; costs as much as changed."""
        for peer_id, died in reversed(self.tombstones.items()):
            if died <= revision:
                return
            yield peer_id


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows that turn one snapshot's database into the next one's; empty if nothing is to be written."""

    sequence: int
    revision: int
    purged: int
    added: tuple[Record, ...] = ()
    changed: tuple[Record, ...] = ()
    removed: tuple[PeerId, ...] = ()
    tombstones: tuple[tuple[PeerId, int], ...] = ()
    quarantined: tuple[Lease, ...] = ()
    released: tuple[int, ...] = ()
    purge: bool = False
    relays_put: tuple[Relay, ...] = ()
    relays_dropped: tuple[RelayId, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to write."""
        return not (
            self.added
            or self.changed
            or self.removed
            or self.tombstones
            or self.quarantined
            or self.released
            or self.purge
            or self.relays_put
            or self.relays_dropped
        )

"""What another server did: the rows that it wrote turn our snapshot into the one that it has.

It costs as much as changed. The result is the same as if everything were read again.
"""

from __future__ import annotations

from dataclasses import dataclass

from wireguard_mesh.core.ipam import Lease, Pool
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.relays import Relay


@dataclass(frozen=True, slots=True)
class News:
    """All rows that were written after a snapshot's sequence, as they are now, and where the database stands.

    `released`: numbers that are in quarantine no more, be they free or a peer's. `relays`: all of them, by name, None
    if they are as before.
    """

    epoch: str
    sequence: int
    revision: int
    purged: int
    records: tuple[Record, ...] = ()
    tombstones: tuple[tuple[PeerId, int], ...] = ()
    leases: tuple[Lease, ...] = ()
    released: tuple[int, ...] = ()
    relays: tuple[Relay, ...] | None = None
    relays_revision: int = 0


def can_catch_up(snapshot: Snapshot, epoch: str, sequence: int, purged: int) -> bool:
    """Whether the rows after the snapshot's sequence tell all that changed; else everything must be read again.

    Not if the database is another one or was restored, nor if it forgot who left since.
    """
    return epoch == snapshot.epoch and sequence >= snapshot.sequence and purged <= snapshot.revision


def catch_up(snapshot: Snapshot, news: News) -> Snapshot:
    """The snapshot that `news` leads to. Raises `InvalidValue` for rows that contradict each other."""
    records, keys = dict(snapshot.records), dict(snapshot.keys)
    changed = {record.peer.public_key: record for record in news.records}
    left = [keys[peer_id] for peer_id, _ in news.tombstones if peer_id in keys]
    before = [records[key].number for key in {*left, *changed} if key in records]
    for key in left:
        del keys[records.pop(key).peer.id]
    for record in sorted(changed.values(), key=lambda record: (record.peer.revision, record.number)):
        _put(records, record, snapshot.revision)
        keys[record.peer.id] = record.peer.public_key
    if len(keys) != len(records):
        raise InvalidValue("a peer has two ids, or an id two peers")
    return Snapshot(
        epoch=snapshot.epoch,
        sequence=news.sequence,
        revision=news.revision,
        purged=news.purged,
        network=snapshot.network,
        records=records,
        keys=keys,
        tombstones=_tombstones(snapshot, news),
        pool=_pool(snapshot.pool, before, [record.number for record in news.records], news),
        relays=snapshot.relays if news.relays is None else news.relays,
        relays_revision=snapshot.relays_revision if news.relays is None else news.relays_revision,
    )


def _put(records: dict[PublicKey, Record], record: Record, seen: int) -> None:
    key = record.peer.public_key
    if record.peer.revision > seen:
        records.pop(key, None)  # the table is in the order of revisions: to its end
    records[key] = record


def _tombstones(snapshot: Snapshot, news: News) -> dict[PeerId, int]:
    if not news.tombstones and news.purged == snapshot.purged:
        return snapshot.tombstones
    fresh = sorted(news.tombstones, key=lambda grave: grave[1])
    graves = snapshot.tombstones | dict(fresh)
    return {peer_id: revision for peer_id, revision in graves.items() if revision > news.purged}


def _pool(pool: Pool, before: list[int], after: list[int], news: News) -> Pool:
    if not (news.leases or news.released) and set(before) == set(after):
        return pool
    twin = pool.copy()
    twin.follow(before, after, news.leases, news.released)
    return twin

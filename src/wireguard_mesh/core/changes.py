"""What one peer must be told, given what it has: the whole map, the difference, or that nothing changed."""

from __future__ import annotations

from collections.abc import Iterator

from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.protocol.api import MapUpdate, Since, UpdateKind


def changes_since(snapshot: Snapshot, asker: PublicKey, since: Since | None) -> MapUpdate:
    """The update that brings `asker` from `since` (None: it has nothing) to the snapshot.

    Costs as much as changed, not as much as there is. Raises `NotFound` if the asker is not registered (any more).
    """
    me = snapshot.record(asker).peer
    if since is None or not _can_follow(snapshot, since):
        return _whole(snapshot, me)
    revision = since.revision
    upsert = tuple(peer for peer in _changed_peers(snapshot, revision) if peer.id != me.id)
    remove = tuple(_removed(snapshot.tombstones, revision))
    mine = me if me.revision > revision else None
    told = upsert or remove or mine
    return MapUpdate(
        kind=UpdateKind.DELTA if told else UpdateKind.CURRENT,
        epoch=snapshot.epoch,
        revision=snapshot.revision,
        me=mine,
        upsert=upsert,
        remove=remove,
    )


def _can_follow(snapshot: Snapshot, since: Since) -> bool:
    # A revision of the future: the database was restored from a backup, and counts anew from there.
    return since.epoch == snapshot.epoch and snapshot.purged <= since.revision <= snapshot.revision


def _whole(snapshot: Snapshot, me: Peer) -> MapUpdate:
    return MapUpdate(
        kind=UpdateKind.SNAPSHOT,
        epoch=snapshot.epoch,
        revision=snapshot.revision,
        network=snapshot.network,
        me=me,
        upsert=tuple(record.peer for record in snapshot.records.values() if record.peer.id != me.id),
    )


def _changed_peers(snapshot: Snapshot, revision: int) -> Iterator[Peer]:
    for record in reversed(snapshot.records.values()):
        if record.peer.revision <= revision:
            return
        yield record.peer


def _removed(tombstones: dict[PeerId, int], revision: int) -> Iterator[PeerId]:
    for peer_id, died in reversed(tombstones.items()):
        if died <= revision:
            return
        yield peer_id

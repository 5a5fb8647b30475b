"""What one peer must be told, given what it has: the whole map, the difference, or that nothing changed.

The answer follows from what the asker has and what there is, never from what happened in between or why it asks now: so
any way of asking, with any interruption, ends in the same map.
"""

from __future__ import annotations

from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind


def changes_since(snapshot: Snapshot, asker: PublicKey, since: MapVersion | None) -> MapUpdate:
    """The update that brings `asker` from `since` (None: it has nothing) to the snapshot.

    The asker's own record is among the others, so that all who have the same get the same. Costs as much as changed,
    not as much as there is. Raises `NotFound` if the asker is no peer and no relay (any more).
    """
    snapshot.check_follower(asker)
    if since is None or not can_follow(snapshot, since):
        return MapUpdate(
            kind=UpdateKind.SNAPSHOT,
            epoch=snapshot.epoch,
            revision=snapshot.revision,
            network=snapshot.network,
            upsert=tuple(record.peer for record in snapshot.records.values()),
            relays=snapshot.relays,
        )
    upsert = tuple(record.peer for record in snapshot.changed_since(since.revision))
    remove = tuple(snapshot.removed_since(since.revision))
    relays = snapshot.relays_since(since.revision)
    return MapUpdate(
        kind=UpdateKind.DELTA if upsert or remove or relays is not None else UpdateKind.CURRENT,
        epoch=snapshot.epoch,
        revision=snapshot.revision,
        upsert=upsert,
        remove=remove,
        relays=relays,
    )


def can_follow(snapshot: Snapshot, since: MapVersion) -> bool:
    """Whether what changed since then is known, so that the whole map need not be told."""
    # A revision of the future: the database was restored from a backup, and counts anew from there.
    return since.epoch == snapshot.epoch and snapshot.purged <= since.revision <= snapshot.revision

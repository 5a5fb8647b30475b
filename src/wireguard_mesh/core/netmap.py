"""The client's side of a map update: what it had, and what it was told, make what it has."""

from __future__ import annotations

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind


def apply(have: NetworkMap | None, update: MapUpdate) -> NetworkMap:
    """The map after `update`; `have` None: none yet.

    Raises `InvalidValue` for an update that does not follow on `have`: ask again without `since`.
    """
    if update.kind is UpdateKind.SNAPSHOT:
        if update.network is None or update.me is None:
            raise InvalidValue("a whole map lacks the network or its owner")
        return NetworkMap(
            epoch=update.epoch,
            revision=update.revision,
            network=update.network,
            me=update.me,
            peers={peer.public_key: peer for peer in update.upsert},
        )
    if have is None or have.epoch != update.epoch or have.revision > update.revision:
        raise InvalidValue("the update does not follow on the map that stands", "ask for the whole map")
    if update.kind is UpdateKind.CURRENT and have.revision == update.revision:
        return have
    gone = set(update.remove)
    peers = {key: peer for key, peer in have.peers.items() if peer.id not in gone}
    # After the removals: a machine that left and came back has its old key and a new id.
    peers.update((peer.public_key, peer) for peer in update.upsert)
    return NetworkMap(
        epoch=have.epoch,
        revision=update.revision,
        network=have.network,
        me=update.me or have.me,
        peers=peers,
    )

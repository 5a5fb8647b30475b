"""Whom a relay serves: of the map it needs the peers' keys only. An update makes a roster of the one before."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from wireguard_mesh.core.known_map import Known
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of all peers, by their ids, at a revision of the mesh."""

    epoch: str
    revision: int
    peers: Mapping[PeerId, PublicKey]

    @property
    def version(self) -> MapVersion:
        """Which map it was made of."""
        return MapVersion(self.epoch, self.revision)


class KnownRoster(Known[Roster]):
    """The roster that a relay has."""

    def __init__(self, last: Roster | None = None) -> None:
        super().__init__(apply, last)


def apply(have: Roster | None, update: MapUpdate) -> Roster:
    """The roster after `update`. Raises `InvalidValue` for one that does not follow on `have`."""
    if update.kind is UpdateKind.SNAPSHOT:
        peers: dict[PeerId, PublicKey] = {}
    elif have is None or have.epoch != update.epoch or have.revision > update.revision:
        raise InvalidValue("the update does not follow on the roster that stands", "ask for the whole map")
    else:
        peers = dict(have.peers)
    for peer_id in update.remove:  # first: a machine that left and came back has its old key and a new id
        peers.pop(peer_id, None)
    for peer in update.upsert:
        peers[peer.id] = peer.public_key
    return Roster(epoch=update.epoch, revision=update.revision, peers=peers)

"""Answers that carry many peers, put together from pieces that are encoded once.

Encoding a peer costs some 3 µs, which ten thousand of them times every asker would make seconds. A piece is kept until
its peer changes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.protocol import seed
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.server.mesh import Mesh

_GONE_KEPT: Final = 100  # pieces of peers that left


class _EncodedUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    # The fields of `MapUpdate`, with peers as text.
    kind: UpdateKind
    epoch: str
    revision: int
    network: MeshNetwork | None = None
    upsert: tuple[msgspec.Raw, ...] = ()
    remove: tuple[PeerId, ...] = ()
    relays: tuple[Relay, ...] | None = None


class _EncodedRegistration(msgspec.Struct, frozen=True, kw_only=True):
    # The fields of `RegisterResponse`, with the map as text.
    peer_id: PeerId
    me: msgspec.Raw
    map: msgspec.Raw | None
    heartbeat_seconds: float
    offline_seconds: float


class Renderer:
    """Encodes maps and peer lists of one mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh: Final = mesh
        self._peers: dict[PublicKey, tuple[Peer, bytes]] = {}
        self._entries: dict[PublicKey, tuple[Peer, int, bytes]] = {}
        self._order: tuple[Snapshot, list[Peer]] | None = None

    def update(self, update: MapUpdate) -> bytes:
        """`MapUpdate` as JSON."""
        return encode(
            _EncodedUpdate(
                kind=update.kind,
                epoch=update.epoch,
                revision=update.revision,
                network=update.network,
                upsert=tuple(msgspec.Raw(self.text_of(peer)) for peer in update.upsert),
                remove=update.remove,
                relays=update.relays,
            )
        )

    def registration(self, me: Peer, update: MapUpdate | None, heartbeat: float, offline: float) -> bytes:
        """`RegisterResponse` as JSON."""
        return encode(
            _EncodedRegistration(
                peer_id=me.id,
                me=msgspec.Raw(self.text_of(me)),
                map=None if update is None else msgspec.Raw(self.update(update)),
                heartbeat_seconds=heartbeat,
                offline_seconds=offline,
            )
        )

    def peer_list(self, asker: str) -> bytes:
        """`GET /peers` for the peer of this id, or for anybody else: all others, by address."""
        entries = [self._entry(peer) for peer in self._by_address() if peer.id != asker]
        return b'{"peers":[' + b",".join(entries) + b"]}"

    def text_of(self, peer: Peer) -> bytes:
        """One record as JSON."""
        known = self._peers.get(peer.public_key)
        if known is not None and known[0] is peer:
            return known[1]
        text = encode(peer)
        self._forget_those_gone()
        self._peers[peer.public_key] = (peer, text)
        return text

    def _by_address(self) -> list[Peer]:
        snapshot = self._mesh.snapshot
        if self._order is None or self._order[0] is not snapshot:
            records = sorted(snapshot.records.values(), key=lambda record: record.number)
            self._order = (snapshot, [record.peer for record in records])
        return self._order[1]

    def _forget_those_gone(self) -> None:
        # Now and then: looking at all of them for each that left would cost more than they do.
        records = self._mesh.snapshot.records
        for pieces in (self._peers, self._entries):
            if len(pieces) > len(records) + _GONE_KEPT:
                for key in [key for key in pieces if key not in records]:
                    pieces.pop(key)

    def _entry(self, peer: Peer) -> bytes:
        heard = int(self._mesh.last_heard(peer.public_key))
        known = self._entries.get(peer.public_key)
        if known is not None and known[0] is peer and known[1] == heard:
            return known[2]
        text = encode(seed.peer_entry(peer, heard))
        self._forget_those_gone()
        self._entries[peer.public_key] = (peer, heard, text)
        return text

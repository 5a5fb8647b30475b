"""Handshakes through a relay: whom an initiation is for, and which routes its response makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wireguard_mesh.core.forwarding_early import Early
from wireguard_mesh.core.forwarding_peers import Drop, ForwardedPeer
from wireguard_mesh.core.forwarding_routes import RouteTable, head_of
from wireguard_mesh.core.forwarding_search import FIRST_TRIED, Search, Wanted
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sources import Source
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.wireguard import (
    MessageType,
    message_type,
    receiver_index,
    response_receiver_index,
    sender_index,
)

INITIATION_BURST: Final = 2048.0  # a machine that joins calls all others at once
INITIATION_RATE: Final = 50.0  # a second; 1,000 peers that rekey each two minutes are 8
MISS_COST: Final = 20.0  # initiations that one for nobody counts as: it was compared with everybody


class Handshakes:
    """Forwards initiations, responses and cookie replies between authenticated peers; `everybody` may change."""

    def __init__(
        self,
        permits: Callable[[PublicKey, PublicKey], bool],
        everybody: list[ForwardedPeer],
        routes: RouteTable,
    ) -> None:
        self._permits = permits
        self._everybody = everybody
        self._routes = routes
        self._search = Search(everybody)
        self.early = Early()
        """What waits for somebody to be there."""

    @property
    def is_searching(self) -> bool:
        """Whether initiations wait for `search`."""
        return len(self._search) > 0

    def receive(self, peer: ForwardedPeer, datagram: bytes, now: Instant) -> Source | Drop | None:
        """Where a message from `peer` goes; None: that is searched for."""
        match message_type(datagram):
            case MessageType.INITIATION:
                return self._initiation(peer, datagram, now.monotonic)
            case MessageType.RESPONSE:
                return self._response(peer, datagram, now)
            case MessageType.COOKIE_REPLY:
                return self._cookie_reply(peer, datagram, now.monotonic)
            case _:
                return Drop.MALFORMED

    def search(self, keys: int, now: float) -> list[tuple[Source | Drop, bytes]]:
        """Try some `keys` keys on the initiations that wait."""
        results: list[tuple[Source | Drop, bytes]] = []
        for found in self._search.step(keys, now):
            if found.recipient is None:
                found.sender.initiations.charge(MISS_COST)
                results.append((Drop.NOBODY, found.datagram))
            else:
                results.append((self.introduce(found.sender, found.recipient, found.datagram, now), found.datagram))
        return results

    def forget(self, peer: ForwardedPeer) -> None:
        """A peer is gone: what it sent is searched for no more."""
        self._search.forget(peer)

    def introduce(self, sender: ForwardedPeer, recipient: ForwardedPeer, datagram: bytes, now: float) -> Source | Drop:
        """Where an initiation goes whose recipient is known; if that is nowhere yet, the initiation waits for it."""
        if sender is recipient or not self._permits(sender.key, recipient.key):
            return Drop.FORBIDDEN
        if sender.source is None:
            return Drop.NOT_HERE
        if recipient.source is None:
            self.early.hold(recipient, sender.source, datagram, now)
            return Drop.NOT_HERE
        if not self._routes.expect(recipient, sender_index(datagram), sender, now):
            return Drop.COLLISION
        return recipient.source

    def _initiation(self, peer: ForwardedPeer, datagram: bytes, now: float) -> Source | Drop | None:
        if not peer.initiations.take(1, now):
            return Drop.TOO_FAST
        wanted = Wanted(peer, datagram, now)
        recipient = wanted.among([], FIRST_TRIED)
        if recipient is not None:
            return self.introduce(peer, recipient, datagram, now)
        return None if self._search.add(peer, wanted) else Drop.BUSY

    def _response(self, peer: ForwardedPeer, datagram: bytes, now: Instant) -> Source | Drop:
        index = response_receiver_index(datagram)
        half_open = peer.replies.get(index)
        if half_open is None or half_open.expires <= now.monotonic:
            return Drop.NO_ROUTE
        initiator = half_open.initiator
        if not self._permits(peer.key, initiator.key):
            return Drop.FORBIDDEN
        if initiator.source is None:
            return Drop.NOT_HERE
        if not self._routes.establish(initiator, peer, index, sender_index(datagram), now):
            return Drop.COLLISION
        del peer.replies[index]  # an initiation has one response
        return initiator.source

    def _cookie_reply(self, peer: ForwardedPeer, datagram: bytes, now: float) -> Source | Drop:
        index = receiver_index(datagram)
        half_open = peer.replies.get(index)
        route = peer.transport.get(head_of(index))
        if half_open is not None and half_open.expires > now:
            destination = half_open.initiator
        elif route is not None and route.expires > now:
            destination = route.pair.destination
        else:
            return Drop.NO_ROUTE
        if not self._permits(peer.key, destination.key):
            return Drop.FORBIDDEN
        return destination.source or Drop.NOT_HERE

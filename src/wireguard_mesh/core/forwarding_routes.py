"""The routes of a relay: made by handshakes, gone when WireGuard's sessions are.

A responder answers to the index that the initiation named; each side sends transport messages to the index that the
other chose. So an initiation and its response say all that there is to know, in clear:

    initiation  A → B  sender a               B may answer to a, and that goes to A
    response    B → A  sender b, receiver a   transport to a goes from B to A, to b from A to B
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from heapq import nlargest
from operator import attrgetter
from typing import Final

import msgspec

from wireguard_mesh.core.forwarding_peers import ForwardedPeer, HalfOpen, Pair, Route, Traffic
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.wireguard import MessageType

REJECT_AFTER_TIME: Final = 180.0  # seconds; WireGuard paper, section 6.1: no session is used for longer
RESPONSE_TIME: Final = 10.0  # seconds; twice Rekey-Timeout: who waited that long has sent another initiation
MAX_ROUTES: Final = 1 << 17  # some 60 MB with their pairs
MAX_ROUTES_OF_PAIR: Final = 8  # WireGuard keeps three sessions with a peer: the one before, this one, the next
PAIR_SECONDS: Final = 900.0  # after its last handshake, that a pair is known and counted by itself
_INDEX_SHIFT: Final = 32


class SavedRoute(msgspec.Struct, frozen=True, array_like=True):
    """A route as the journal keeps it. `created`: when its handshake was, in Unix seconds."""

    source: PublicKey
    destination: PublicKey
    index: int
    created: float


def head_of(index: int) -> int:
    """The first eight bytes of a transport message to this index, as one number (little endian)."""
    return MessageType.TRANSPORT | index << _INDEX_SHIFT


class RouteTable:
    """All routes, bounded; the oldest give way.

    Those of one direction of a pair are few, the oldest giving way to the newest there first: else some registered
    peers could fill the table with handshakes among themselves, and so end the routes of all others.
    """

    def __init__(self, max_routes: int = MAX_ROUTES) -> None:
        self._max = max_routes
        # In order of their ends, since each kind lives for as long.
        self._established: OrderedDict[Route, None] = OrderedDict()
        # What is no longer what it was is passed over.
        self._half_open: deque[tuple[float, ForwardedPeer, int, HalfOpen]] = deque()
        # In order of their last handshakes. As many as routes, so that no pair is forgotten whose route lives.
        self._pairs: OrderedDict[Pair, None] = OrderedDict()
        self._unsaved: deque[SavedRoute] = deque(maxlen=max_routes)
        self._busy_from = 0

    def __len__(self) -> int:
        return len(self._established)

    def expect(self, responder: ForwardedPeer, index: int, initiator: ForwardedPeer, now: float) -> bool:
        """A response to `index` may come. False: somebody else awaits one to the same index."""
        standing = responder.replies.get(index)
        if standing is not None and standing.initiator is not initiator and standing.expires > now:
            return False
        half_open = HalfOpen(initiator, now + RESPONSE_TIME)
        responder.replies[index] = half_open
        self._half_open.append((half_open.expires, responder, index, half_open))
        if len(self._half_open) > self._max:
            self._close_oldest()
        return True

    def establish(self, initiator: ForwardedPeer, responder: ForwardedPeer, a: int, b: int, now: Instant) -> bool:
        """The response came: `a` is the initiator's index, `b` the responder's. False: one of them is in use."""
        time = now.monotonic
        if not (_is_free(responder, a, initiator, time) and _is_free(initiator, b, responder, time)):
            return False
        for source, destination, index in ((initiator, responder, b), (responder, initiator, a)):
            self._add(source, destination, index, now, REJECT_AFTER_TIME)
            self._unsaved.append(SavedRoute(source.key, destination.key, index, now.wall))
        return True

    def restore(self, source: ForwardedPeer, destination: ForwardedPeer, saved: SavedRoute, now: Instant) -> None:
        """Go on with a route out of the journal, unless it is too old. To be called in the order of their handshakes.

        A clock that was set back in the meantime makes no route live longer than a new one.
        """
        age = max(0.0, now.wall - saved.created)
        if age < REJECT_AFTER_TIME and _is_free(source, saved.index, destination, now.monotonic):
            self._add(source, destination, saved.index, now, REJECT_AFTER_TIME - age)

    def unsaved(self) -> list[SavedRoute]:
        """What was established since this was asked last."""
        routes = list(self._unsaved)
        self._unsaved.clear()
        return routes

    def saved(self, now: Instant) -> list[SavedRoute]:
        """All that live, oldest first."""
        return [
            SavedRoute(route.pair.source.key, route.pair.destination.key, route.head >> _INDEX_SHIFT, route.created)
            for route in self._established
            if route.expires > now.monotonic
        ]

    def expire(self, now: float) -> None:
        """Forget what has ended; costs as much as that is."""
        ended: list[Route] = []
        for route in self._established:
            if route.expires > now:
                break
            ended.append(route)
        for route in ended:
            self._drop(route)
        silent: list[Pair] = []
        for pair in self._pairs:
            if now - pair.seen <= PAIR_SECONDS:
                break
            silent.append(pair)
        for pair in silent:
            self._part(pair)
        while self._half_open and self._half_open[0][0] <= now:
            self._close_oldest()

    def end_forbidden(self, permits: Callable[[PublicKey, PublicKey], bool]) -> None:
        """End the routes of pairs that may no longer; looks at all of them."""
        for route in list(self._established):
            if not permits(route.pair.source.key, route.pair.destination.key):
                self._drop(route)

    def forget(self, peer: ForwardedPeer) -> None:
        """A peer is gone, and its routes with it; those to it lead nowhere, and end when their time comes."""
        for route in list(peer.transport.values()):
            self._drop(route)
        for partner, pair in peer.partners.items():
            self._retire(pair)
            back = partner.partners.pop(peer, None)
            if back is not None:
                self._retire(back)
        peer.partners.clear()
        peer.replies.clear()

    def busiest(self, count: int) -> list[Traffic]:
        """What those so many pairs sent that sent most, of all that are known now."""
        # Counts only grow, so that few of very many pairs can be among them.
        pairs: Collection[Pair] = [pair for pair in self._pairs if pair.bytes >= self._busy_from]
        busiest = nlargest(count, pairs if len(pairs) >= count else self._pairs, key=attrgetter("bytes"))
        self._busy_from = busiest[-1].bytes if busiest else 0
        return [Traffic(pair.source.key, pair.destination.key, pair.packets, pair.bytes) for pair in busiest]

    def _add(
        self, source: ForwardedPeer, destination: ForwardedPeer, index: int, now: Instant, lifetime: float
    ) -> None:
        pair = source.partners.pop(destination, None) or Pair(source, destination)
        source.partners[destination] = pair  # the latest last
        pair.seen = now.monotonic
        self._pairs[pair] = None
        self._pairs.move_to_end(pair)
        route = Route(pair, head_of(index), now.wall + lifetime - REJECT_AFTER_TIME, now.monotonic + lifetime)
        before = source.transport.get(route.head)
        if before is not None:
            self._drop(before)
        elif len(pair.routes) >= MAX_ROUTES_OF_PAIR:
            self._drop(pair.routes[0])
        source.transport[route.head] = route
        pair.routes.append(route)
        self._established[route] = None
        if len(self._established) > self._max:
            self._drop(next(iter(self._established)))
        if len(self._pairs) > self._max:
            self._part(next(iter(self._pairs)))

    def _drop(self, route: Route) -> None:
        del self._established[route]
        del route.pair.source.transport[route.head]
        route.pair.routes.remove(route)

    def _close_oldest(self) -> None:
        _, peer, index, half_open = self._half_open.popleft()
        if peer.replies.get(index) is half_open:
            del peer.replies[index]

    def _part(self, pair: Pair) -> None:
        pair.source.partners.pop(pair.destination, None)
        self._retire(pair)

    def _retire(self, pair: Pair) -> None:
        self._pairs.pop(pair, None)
        pair.source.retired_packets += pair.packets
        pair.source.retired_bytes += pair.bytes


def _is_free(source: ForwardedPeer, index: int, destination: ForwardedPeer, now: float) -> bool:
    standing = source.transport.get(head_of(index))
    return standing is None or standing.pair.destination is destination or standing.expires <= now

"""Forwarding: one packet in, at most the same packet out, to a peer that has proved where it is.

WireGuard's packets say in clear what a relay must know: whom an initiation is for (mac1), and to which index a message
goes (`core.forwarding_routes`). So peers need nothing but WireGuard, and many share one address of the relay. Nothing
is forwarded from a source that the rendezvous has not authenticated, to one that it has not, or for a pair that may not
know each other; and whatever is learnt of handshakes ends with WireGuard's sessions.

Linux gives several packets of one sender in one piece (UDP GRO): they have one size but for the last, which may be
shorter. Where all of them go the same way, which is nearly always, they are looked at once and leave as one piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

import msgspec

from wireguard_mesh.core.forwarding_handshakes import INITIATION_BURST, INITIATION_RATE, Handshakes
from wireguard_mesh.core.forwarding_peers import Bucket, Drop, ForwardedPeer, Traffic
from wireguard_mesh.core.forwarding_routes import MAX_ROUTES, RouteTable, SavedRoute
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sources import Source, UdpSource, WebSource
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.wireguard import KEEPALIVE_SIZE, MessageType, message_type

Buffer = bytes | bytearray | memoryview
Run = tuple[Source, int, int, int]
"""Where to, start and end in the buffer, and the size of each packet but the last."""
Span = tuple[int, int]
"""Start and end of one packet."""

_HEAD: Final = Struct("<Q")
_WITHOUT_LIMIT: Final = Bucket(0, 0)


class ForwardingLimits(msgspec.Struct, frozen=True):
    """What one peer may take: bytes a second in the long run (0: no limit) and at once; and the routes of all."""

    bytes_per_second: float = 0
    burst_bytes: float = 16 * 1024 * 1024
    max_routes: int = MAX_ROUTES


NO_LIMITS: Final = ForwardingLimits()


class Forwarder:
    """The forwarding of one relay. `permits` says whether two peers may know each other; times are monotonic."""

    def __init__(
        self,
        permits: Callable[[PublicKey, PublicKey], bool],
        limits: ForwardingLimits = NO_LIMITS,
    ) -> None:
        self._permits = permits
        self._limits = limits
        self._peers: dict[PublicKey, ForwardedPeer] = {}
        self._at: dict[Source, ForwardedPeer] = {}
        self._everybody: list[ForwardedPeer] = []
        self._routes = RouteTable(limits.max_routes)
        self._handshakes = Handshakes(permits, self._everybody, self._routes)
        self._arrived: list[ForwardedPeer] = []
        self._packets = 0
        self._bytes = 0
        self.dropped: Counter[Drop] = Counter()
        """Packets that were not forwarded, by reason."""

    def admit(self, key: PublicKey) -> None:
        """`key` is registered."""
        if key not in self._peers:
            peer = ForwardedPeer(key, Bucket(INITIATION_BURST, INITIATION_RATE), self._limit())
            peer.place = len(self._everybody)
            self._everybody.append(peer)
            self._peers[key] = peer

    def dismiss(self, key: PublicKey) -> None:
        """`key` is registered no more: nothing goes from it or to it from now on."""
        peer = self._peers.pop(key, None)
        if peer is None:
            return
        self._leave(peer)
        self._handshakes.forget(peer)
        self._routes.forget(peer)
        last = self._everybody.pop()
        if last is not peer:
            self._everybody[peer.place] = last
            last.place = peer.place

    def locate(self, key: PublicKey, source: Source | None) -> None:
        """`key` is at `source`, which it has proved; None: nobody knows where. A source is one peer's, the latest's."""
        peer = self._peers.get(key)
        if peer is None or peer.source == source:
            return
        self._leave(peer)
        if source is not None:
            before = self._at.get(source)
            if before is not None:
                before.source = None
            peer.source = source
            self._at[source] = peer
            self._arrived.append(peer)

    def is_at(self, source: Source) -> bool:
        """Whether some peer is there now."""
        return source in self._at

    @property
    def present(self) -> int:
        """How many peers are somewhere."""
        return len(self._at)

    def vacate(self, source: Source) -> None:
        """Nobody is there any more."""
        peer = self._at.get(source)
        if peer is not None:
            self._leave(peer)

    def recheck(self) -> None:
        """`permits` may say something else than before: end what it forbids. Looks at all routes."""
        self._routes.end_forbidden(self._permits)

    def forward(
        self, source: Source, buffer: Buffer, start: int, end: int, size: int, now: float
    ) -> tuple[list[Run], list[Span]]:
        """Where the transport messages from `source` in `buffer[start:end]` go, each of `size` bytes but the last.

        Second: the packets that are none, or keepalives, or have no route; each is to be looked at by itself.
        """
        peer = self._at.get(source)
        if peer is None:
            return [], spans(start, end, size)
        if end - start <= size:
            if end - start <= KEEPALIVE_SIZE:
                return [], [(start, end)]
            return self._send(peer, _HEAD.unpack_from(buffer, start)[0], start, end, size, now)
        count = -((start - end) // size)
        last = end - start - (count - 1) * size
        if size <= KEEPALIVE_SIZE:
            return [], spans(start, end, size)
        if last <= KEEPALIVE_SIZE:
            runs, rest = self.forward(source, buffer, start, end - last, size, now)
            return runs, [*rest, (end - last, end)]
        heads = _heads(size, count)(buffer, start)
        if heads.count(heads[0]) == count:
            return self._send(peer, heads[0], start, end, size, now)
        return self._forward_mixed(peer, heads, start, end, size, now)

    def find_route(self, source: Source, head: int, packets: int, size: int, now: float) -> UdpSource | None:
        """Where transport messages that begin with `head` go: so many packets of so many bytes together.

        They count as forwarded if there is an answer, which is never a WebSocket; None: they are to be looked at one by
        one. For senders whose packets come singly: those of one batch that go the same way are routed once.
        """
        peer = self._at.get(source)
        route = None if peer is None else peer.transport.get(head)
        if peer is None or route is None or route.expires <= now or peer.limit is not _WITHOUT_LIMIT:
            return None
        pair = route.pair
        destination = pair.destination.source
        if destination is None or isinstance(destination, WebSource):
            return None
        pair.packets += packets
        pair.bytes += size
        self._packets += packets
        self._bytes += size
        return destination

    def forward_one(self, source: Source, datagram: bytes, now: Instant) -> Source | None:
        """Where a packet goes that is not a plain transport message, or has no route; None: nowhere, or not yet.

        An initiation whose recipient is not found at once waits for `search`.
        """
        return self._counted(self._destination(source, datagram, now))

    @property
    def is_searching(self) -> bool:
        """Whether initiations wait for `search`."""
        return self._handshakes.is_searching

    def search(self, keys: int, now: float) -> list[tuple[Source, bytes]]:
        """Try some `keys` keys on the initiations that wait; those whose recipient is found, and where they go."""
        found = [(self._counted(result), datagram) for result, datagram in self._handshakes.search(keys, now)]
        return [(destination, datagram) for destination, datagram in found if destination is not None]

    def released(self, now: Instant) -> list[tuple[Source, bytes]]:
        """Initiations that came too early and may go now, and where; to be asked when somebody was located."""
        arrived, self._arrived = self._arrived, []
        ready: list[tuple[Source | None, bytes]] = []
        for peer in arrived:
            if peer.source is None:
                continue
            for source, datagram in self._handshakes.early.release(peer.source, now.monotonic):
                ready.append((self.forward_one(source, datagram, now), datagram))
            for source, datagram in self._handshakes.early.release(peer, now.monotonic):
                sender = self._at.get(source)
                if sender is not None:
                    result = self._handshakes.introduce(sender, peer, datagram, now.monotonic)
                    ready.append((self._counted(result), datagram))
        return [(destination, datagram) for destination, datagram in ready if destination is not None]

    def expire(self, now: float) -> None:
        """Forget what has ended. To be called each second or so."""
        self._routes.expire(now)
        self._handshakes.early.expire(now)

    @property
    def routes(self) -> int:
        """How many there are."""
        return len(self._routes)

    def unsaved(self) -> list[SavedRoute]:
        """Routes that were made since this was asked last, for the journal."""
        return self._routes.unsaved()

    def saved(self, now: Instant) -> list[SavedRoute]:
        """All routes, for a new journal."""
        return self._routes.saved(now)

    def restore(self, routes: Iterable[SavedRoute], now: Instant) -> None:
        """Go on where another process was; what is too old, or of a pair that may not, is left out."""
        for saved in routes:
            source, destination = self._peers.get(saved.source), self._peers.get(saved.destination)
            if source and destination and source is not destination and self._permits(source.key, destination.key):
                self._routes.restore(source, destination, saved, now)

    def busiest(self, count: int) -> list[Traffic]:
        """What those so many pairs sent that sent most, of all that had a handshake lately."""
        return self._routes.busiest(count)

    def totals(self) -> tuple[int, int]:
        """Packets and bytes that were ever forwarded."""
        return self._packets, self._bytes

    def sent_by(self, key: PublicKey) -> tuple[int, int]:
        """Packets and bytes that were forwarded for a peer since it was admitted."""
        peer = self._peers[key]
        pairs = peer.partners.values()
        packets = peer.retired_packets + sum(pair.packets for pair in pairs)
        return packets, peer.retired_bytes + sum(pair.bytes for pair in pairs)

    def _limit(self) -> Bucket:
        limits = self._limits
        return Bucket(limits.burst_bytes, limits.bytes_per_second) if limits.bytes_per_second else _WITHOUT_LIMIT

    def _leave(self, peer: ForwardedPeer) -> None:
        if peer.source is not None:
            del self._at[peer.source]
            peer.source = None

    def _destination(self, source: Source, datagram: bytes, now: Instant) -> Source | Drop | None:
        peer = self._at.get(source)
        kind = message_type(datagram)
        if peer is None:
            if kind is MessageType.INITIATION:
                self._handshakes.early.hold(source, source, datagram, now.monotonic)
            return Drop.STRANGER
        if kind is not MessageType.TRANSPORT:
            return self._handshakes.receive(peer, datagram, now)
        size = len(datagram)
        runs, rest = self._send(peer, _HEAD.unpack_from(datagram)[0], 0, size, size, now.monotonic)
        if rest:
            return Drop.NO_ROUTE
        return runs[0][0] if runs else None

    def _counted(self, result: Source | Drop | None) -> Source | None:
        if isinstance(result, Drop):
            self.dropped[result] += 1
            return None
        return result

    def _send(
        self, peer: ForwardedPeer, head: int, start: int, end: int, size: int, now: float
    ) -> tuple[list[Run], list[Span]]:
        route = peer.transport.get(head)
        if route is None or route.expires <= now:
            return [], spans(start, end, size)
        pair = route.pair
        destination = pair.destination.source
        packets = -((start - end) // size)
        if destination is None:
            self.dropped[Drop.NOT_HERE] += packets
            return [], []
        if peer.limit is not _WITHOUT_LIMIT and not peer.limit.take(end - start, now):
            self.dropped[Drop.TOO_FAST] += packets
            return [], []
        pair.packets += packets
        pair.bytes += end - start
        self._packets += packets
        self._bytes += end - start
        return [(destination, start, end, size)], []

    def _forward_mixed(
        self, peer: ForwardedPeer, heads: tuple[int, ...], start: int, end: int, size: int, now: float
    ) -> tuple[list[Run], list[Span]]:
        runs: list[Run] = []
        rest: list[Span] = []
        first = 0
        for number in range(1, len(heads) + 1):
            if number < len(heads) and heads[number] == heads[first]:
                continue
            part = self._send(peer, heads[first], start + first * size, min(end, start + number * size), size, now)
            runs += part[0]
            rest += part[1]
            first = number
        return runs, rest


def spans(start: int, end: int, size: int) -> list[Span]:
    """The packets of a piece, each of `size` bytes but the last."""
    return [(at, min(at + size, end)) for at in range(start, end, size)]


@lru_cache(maxsize=1024)
def _heads(size: int, count: int) -> Callable[[Any, int], tuple[int, ...]]:
    # One call for the first eight bytes of all packets: a microsecond for 45, a quarter of what a loop takes.
    return Struct("<" + f"Q{size - _HEAD.size}x" * (count - 1) + "Q").unpack_from

"""Messages as two WireGuards would exchange them, without what a relay cannot see anyway."""

from __future__ import annotations

from tests.samples import public_key
from wireguard_mesh.core.forwarding import Forwarder, ForwardingLimits
from wireguard_mesh.core.forwarding_peers import mac1_hasher
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sources import Source
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.wireguard import CookieReply, Initiation, Response, Transport


def at(seconds: float) -> Instant:
    """A moment: the monotonic clock is a thousand seconds behind the other."""
    return Instant(seconds, seconds + 1000)


def source(number: int) -> Source:
    """Where peer `number` is."""
    return (f"192.0.2.{number}", 51820)


def initiation(recipient: int | PublicKey, index: int) -> bytes:
    """An initiation for a peer, by its number or key, with the mac1 that it must have."""
    key = recipient if isinstance(recipient, PublicKey) else public_key(recipient)
    unsigned = Initiation(index, bytes(32), bytes(48), bytes(28), bytes(16)).build()
    hasher = mac1_hasher(key)
    hasher.update(unsigned[:116])
    return Initiation(index, bytes(32), bytes(48), bytes(28), hasher.digest()).build()


def response(index: int, receiver: int) -> bytes:
    """A response."""
    return Response(index, receiver, bytes(32), bytes(16), bytes(16)).build()


def cookie_reply(receiver: int) -> bytes:
    """A cookie reply."""
    return CookieReply(receiver, bytes(24), bytes(32)).build()


def transport(receiver: int, size: int = 128) -> bytes:
    """A transport message of `size` bytes."""
    return Transport(receiver, 0, bytes(size - 16)).build()


class Pairs:
    """A forwarder with peers 1 to `count`, all of them located, and pairs that may not know each other."""

    def __init__(self, count: int = 3, limits: ForwardingLimits | None = None) -> None:
        self.forbidden: set[frozenset[PublicKey]] = set()
        self.forwarder = Forwarder(self.permits, *([] if limits is None else [limits]))
        for number in range(1, count + 1):
            self.forwarder.admit(public_key(number))
            self.forwarder.locate(public_key(number), source(number))

    def permits(self, a: PublicKey, b: PublicKey) -> bool:
        """Whether a and b may know each other."""
        return frozenset((a, b)) not in self.forbidden

    def forbid(self, a: int, b: int) -> None:
        """They may no longer."""
        self.forbidden.add(frozenset((public_key(a), public_key(b))))
        self.forwarder.recheck()

    def one(self, number: int, datagram: bytes, now: float = 0.0) -> Source | None:
        """What becomes of one packet of a peer, by whichever way it has to go, all searches included."""
        found = self.waiting(number, datagram, now)
        if found is None and self.forwarder.is_searching:
            ready = self.forwarder.search(1 << 30, now)
            assert all(sent == datagram for _, sent in ready)
            found = ready[0][0] if ready else None
        return found

    def waiting(self, number: int, datagram: bytes, now: float = 0.0) -> Source | None:
        """The same without searches."""
        size = len(datagram)
        runs, rest = self.forwarder.forward(source(number), datagram, 0, size, size, now)
        if runs:
            ((destination, start, end, each),) = runs
            assert (start, end, each, rest) == (0, size, size, [])
            return destination
        return self.forwarder.forward_one(source(number), datagram, at(now)) if rest else None

    def shake(self, a: int, b: int, index_a: int, index_b: int, now: float = 0.0) -> None:
        """A whole handshake that peer `a` begins."""
        assert self.one(a, initiation(b, index_a), now) == source(b)
        assert self.one(b, response(index_b, index_a), now) == source(a)

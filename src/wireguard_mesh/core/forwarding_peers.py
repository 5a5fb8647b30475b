"""What a relay keeps of each peer, each pair and each route. Mutable and lean: it is looked at for each packet."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

import msgspec

from wireguard_mesh.core.sources import Source
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.wireguard import MAC_LENGTH

MAX_DEBT: Final = 5.0  # seconds; WireGuard tries a handshake again so often (REKEY_TIMEOUT)
_LABEL_MAC1: Final = b"mac1----"  # WireGuard paper, section 5.4.4


class Drop(StrEnum):
    """Why a packet was not forwarded."""

    STRANGER = "source not authenticated"
    NO_ROUTE = "no route"
    NOT_HERE = "destination not here"
    FORBIDDEN = "forbidden"
    TOO_FAST = "too fast"
    NOBODY = "for nobody registered"
    BUSY = "too many handshakes wait"
    COLLISION = "index in use"
    MALFORMED = "no message"


class Traffic(msgspec.Struct, frozen=True, array_like=True):
    """What was forwarded from one peer to another."""

    source: PublicKey
    destination: PublicKey
    packets: int
    bytes: int


class Bucket:
    """`burst` at once, `rate` a second in the long run; `rate` 0 is no limit."""

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = self._tokens = burst
        self._rate = rate
        self._filled = float("-inf")

    def take(self, amount: float, now: float) -> bool:
        """Take as much, or nothing. `now` in monotonic seconds."""
        if not self._rate:
            return True
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def charge(self, amount: float) -> None:
        """Take as much though it is not there: what comes next waits for it, but no longer than `MAX_DEBT`. Whoever
        knows a peer's address can send under it, and must not make it pay for long."""
        self._tokens = max(self._tokens - amount, -MAX_DEBT * self._rate)


class ForwardedPeer:
    """One registered peer. `source` None: it is not heard from now.

    `transport`: its routes, by the first eight bytes of the messages that take them. `replies`: who awaits a response
    of this peer, by the index that it carries. `partners`: whom it had handshakes with, the latest last.
    """

    __slots__ = (
        "hasher",
        "initiations",
        "key",
        "limit",
        "partners",
        "place",
        "replies",
        "retired_bytes",
        "retired_packets",
        "source",
        "transport",
    )

    def __init__(self, key: PublicKey, initiations: Bucket, limit: Bucket) -> None:
        self.key = key
        self.hasher = mac1_hasher(key)
        self.source: Source | None = None
        self.transport: dict[int, Route] = {}
        self.replies: dict[int, HalfOpen] = {}
        self.partners: dict[ForwardedPeer, Pair] = {}
        self.initiations = initiations
        self.limit = limit
        self.place = 0
        self.retired_packets = 0
        self.retired_bytes = 0


class Pair:
    """One direction between two peers: its routes, the latest last, and what went that way.

    `seen`: when its last handshake was, in monotonic seconds.
    """

    __slots__ = ("bytes", "destination", "packets", "routes", "seen", "source")

    def __init__(self, source: ForwardedPeer, destination: ForwardedPeer) -> None:
        self.source = source
        self.destination = destination
        self.routes: list[Route] = []
        self.seen = 0.0
        self.packets = 0
        self.bytes = 0


class Route:
    """Where transport messages that begin with `head` go, until `expires` (monotonic seconds)."""

    __slots__ = ("created", "expires", "head", "pair")

    def __init__(self, pair: Pair, head: int, created: float, expires: float) -> None:
        self.pair = pair
        self.head = head
        self.created = created
        self.expires = expires


class HalfOpen:
    """An initiation was forwarded, and its response may come until `expires` (monotonic seconds)."""

    __slots__ = ("expires", "initiator")

    def __init__(self, initiator: ForwardedPeer, expires: float) -> None:
        self.initiator = initiator
        self.expires = expires


def mac1_hasher(key: PublicKey) -> hashlib.blake2s:
    """The keyed hash that makes mac1 of messages to `key` (section 5.4.4), to be copied: the key is absorbed once."""
    mac1_key = hashlib.blake2s(_LABEL_MAC1 + key.raw).digest()
    return hashlib.blake2s(key=mac1_key, digest_size=MAC_LENGTH)

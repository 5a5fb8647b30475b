"""What a rendezvous asks of a handshake before it spends a multiplication on it (WireGuard paper, section 5.3).

While handshakes come slowly, each is looked at. When they come faster than that costs nothing, only those are whose
sender showed by a cookie that it receives at its address, and of one subscriber only so many that fail: ten thousand
registered peers may come back at once from behind one NAT. To all others a cookie reply is sent: the one answer to a
stranger, less than half as long as what it answers, and so many a second at most. A peer whose place is known makes its
few handshakes before all of that, whatever strangers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.core.sources import Source, source_bytes, subscriber
from wireguard_mesh.protocol import cookies
from wireguard_mesh.protocol.wireguard import COOKIE_NONCE_LENGTH, Datagram

UNDER_LOAD_AFTER: Final = 1.0  # seconds that load is still assumed, as wireguard-go does (UnderLoadAfterTime)
Random = Callable[[int], bytes]
"""Gives so many random bytes from a secure source (`os.urandom`)."""

_SECRET_LENGTH: Final = 32
_ALL: Final = "all"


class GateLimits(msgspec.Struct, frozen=True):
    """How many handshakes a second, and how many at once before that; 0: no limit.

    `calm`: above it there is load; 500 that fail cost a core 3 %. One that succeeds counts as `success` of one that
    fails, so that 2,000 may, which is 40 % while it lasts. `looked_at`: under load, with a cookie. `failed`: of these,
    from one IPv4 address or IPv6 /64, WireGuard's own number for all. `known`: from where a peer is.
    `replies`: cookie replies, as many as `core.turnstile` lets in without a cookie at two vantage points.
    `replies_per_subscriber`: to one address or /64, so that it leaves half to others.
    """

    calm: float = 500.0
    calm_burst: float = 1000.0
    looked_at: float = 2000.0
    success: float = 0.25
    failed: float = 20.0
    failed_burst: float = 50.0
    known: float = 0.2
    known_burst: float = 4.0
    replies: float = 1000.0
    replies_per_subscriber: float = 500.0


class Gate:
    """One for all vantage points of a relay."""

    def __init__(self, limits: GateLimits) -> None:
        self._calm = RateLimiter(limits.calm_burst, limits.calm, 1, what="handshakes")
        self._looked_at = RateLimiter(limits.looked_at, limits.looked_at, 1, what="handshakes with a cookie")
        self._failed = RateLimiter(limits.failed_burst, limits.failed, what="failed handshakes of a subscriber")
        self._known = RateLimiter(limits.known_burst, limits.known, what="handshakes from where a peer is")
        self._spared = 1 - limits.success
        self._replies = RateLimiter(limits.replies, limits.replies, 1, what="cookie replies")
        self._replies_to = RateLimiter(
            limits.replies_per_subscriber, limits.replies_per_subscriber, what="cookie replies to a subscriber"
        )
        self._load_until = 0.0
        self._secret = b""
        self._secret_until = 0.0

    def is_under_load(self, now: Instant) -> bool:
        """Whether cookies are wanted now."""
        return now.monotonic < self._load_until

    def refusal(
        self,
        cookie_key: bytes,
        source: Source,
        initiation: Datagram,
        now: Instant,
        random: Random,
        *,
        is_known: bool = False,
    ) -> bytes | None:
        """None: look at this initiation, whose mac1 is right. Else what to send back: a cookie reply, or nothing.

        `is_known`: a peer is at `source`.
        """
        moment = now.monotonic
        if is_known and not self._known.wait(source, moment):
            return None
        if self._calm.wait(_ALL, moment):
            self._load_until = moment + UNDER_LOAD_AFTER
        elif not self.is_under_load(now):
            return None
        whose = subscriber(source)
        cookie = self._cookie(source, moment, random)
        if cookies.has_mac2(cookie, initiation):
            is_too_much = self._failed.wait(whose, moment) or self._looked_at.wait(_ALL, moment)
            return b"" if is_too_much else None
        if self._replies_to.wait(whose, moment) or self._replies.wait(_ALL, moment):
            return b""
        return cookies.cookie_reply(cookie_key, random(COOKIE_NONCE_LENGTH), cookie, initiation).build()

    def succeeded(self, source: Source) -> None:
        """An initiation that was looked at was a registered peer's."""
        self._failed.give_back(subscriber(source), 1)
        self._calm.give_back(_ALL, self._spared)

    def _cookie(self, source: Source, moment: float, random: Random) -> bytes:
        if moment >= self._secret_until:
            self._secret = random(_SECRET_LENGTH)
            self._secret_until = moment + cookies.COOKIE_SECRET_SECONDS
        return cookies.make_cookie(self._secret, source_bytes(source))

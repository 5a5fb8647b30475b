"""A token bucket for each source: `burst` at once, `rate` a second in the long run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import Unavailable

REGISTRATION_BURST: Final = 1000
REGISTRATION_RATE: Final = 50.0
MAX_SOURCES: Final = 10_000
_SITE_PREFIX: Final = 64  # what one subscriber has at least (RFC 6177): its addresses are one source


class RateLimited(Unavailable):
    """Too much of it, too fast. `retry_after` in seconds."""

    code = "rate_limited"

    def __init__(self, message: str, hint: str = "", *, retry_after: float = 1.0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class RateLimiter:
    """Buckets of a bounded number of sources; the one unused for longest gives way to a new one.

    `burst` and `rate` 0: no limit. `what` says to a person which limit it is.
    """

    def __init__(
        self,
        burst: float,
        rate: float,
        max_sources: int = MAX_SOURCES,
        *,
        what: str,
    ) -> None:
        self._what = what
        self._burst = burst
        self._rate = rate
        self._max_sources = max_sources
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, source: Hashable, now: float) -> None:
        """Take one token of `source`. `now` in monotonic seconds. Raises `RateLimited`."""
        wait = self.wait(source, now)
        if wait:
            raise RateLimited(self._what, "wait a little", retry_after=wait)

    def wait(self, source: Hashable, now: float) -> float:
        """Take one token of `source` if there is one, and return 0.0; else the seconds until there is."""
        if not self._burst:
            return 0.0
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= self._max_sources:
                self._buckets.popitem(last=False)
            bucket = self._buckets[source] = _Bucket(self._burst, now)
        self._buckets.move_to_end(source)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled) * self._rate)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate
        bucket.tokens -= 1
        return 0.0

    def give_back(self, source: Hashable, tokens: float) -> None:
        """What was taken was worth it: give so much of it back, never more than `burst` in all."""
        bucket = self._buckets.get(source)
        if bucket is not None:
            bucket.tokens = min(self._burst, bucket.tokens + tokens)


def source_of(address: Address) -> Hashable:
    """What one subscriber is known by: an IPv4 address, or the /64 of an IPv6 address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        return IPv6Network((int(address), _SITE_PREFIX), strict=False)
    return address

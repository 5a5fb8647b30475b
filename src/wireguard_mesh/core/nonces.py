"""Which signed requests were seen: a nonce counts once.

A request is accepted for `MAX_SKEW_SECONDS` either side of its time, so a nonce must be remembered for twice that, and
for as long as the wall clock may be behind what it was. Two generations do it without looking at each: when the newer
one is that old, the older one is dropped whole.
"""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.ratelimit import RateLimited
from wireguard_mesh.model.errors import NotPermitted
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.signatures import MAX_SKEW_SECONDS

CLOCK_TOLERANCE_SECONDS: Final = 30  # set back further, the caller must have requests signed for a new instance
GENERATION_SECONDS: Final = 2 * MAX_SKEW_SECONDS + CLOCK_TOLERANCE_SECONDS
MAX_PER_KEY: Final = 4096  # a generation: 27 requests a second
MAX_NONCES: Final = 400_000  # some 30 MB; 10,000 peers at 16 requests a minute each
FAIR_SHARE: Final = 40  # a key's, once half of them are used: so a few keys cannot use up what all need


class Replayed(NotPermitted):
    """The very request came before."""

    code = "replayed"


class Nonces:
    """The nonces of verified requests. Only those of registered keys, or of ones just admitted, may come here: whoever
    can add at will could fill it."""

    def __init__(self, now: float, *, max_per_key: int = MAX_PER_KEY, max_nonces: int = MAX_NONCES) -> None:
        """`now` in monotonic seconds, here and below."""
        self._max_per_key = max_per_key
        self._max_nonces = max_nonces
        self._turned = now
        self._newer: set[int] = set()
        self._older: set[int] = set()
        self._counts: dict[PublicKey, int] = {}

    def use(self, key: PublicKey, nonce: str, now: float) -> None:
        """Raises `Replayed`, or `RateLimited` if the key, or all together, made more requests than are remembered."""
        self._turn(now)
        # 64 bits of a hash keyed with this process's secret: a false alarm is beyond hope, and a nonce costs 60 bytes.
        token = hash((key.raw, nonce))
        if token in self._newer or token in self._older:
            raise Replayed("this request was made before", "sign each request anew")
        count = self._counts.get(key, 0)
        is_scarce = len(self._newer) >= self._max_nonces // 2
        limit = min(self._max_per_key, FAIR_SHARE) if is_scarce else self._max_per_key
        if count >= limit or len(self._newer) >= self._max_nonces:
            wait = max(1.0, self._turned + GENERATION_SECONDS - now)
            raise RateLimited("too many requests", "wait a little", retry_after=wait)
        self._newer.add(token)
        self._counts[key] = count + 1

    def _turn(self, now: float) -> None:
        age = now - self._turned
        if age <= GENERATION_SECONDS:
            return
        self._older = self._newer if age <= 2 * GENERATION_SECONDS else set()
        self._newer = set()
        self._counts = {}
        self._turned = now

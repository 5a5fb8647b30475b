"""How long to wait before the next attempt: twice as long after each failure, spread at random.

The spread is what keeps a thousand agents from calling a restarted server all in the same instant.
"""

from __future__ import annotations

from typing import Final

import msgspec

_MAX_DOUBLINGS: Final = 32  # beyond any limit in seconds that makes sense


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Delays from `first` to `longest` seconds."""

    first: float
    longest: float

    def delay(self, failures: int, random: float) -> float:
        """Seconds to wait after `failures` in a row (1 is the first). `random` is in [0, 1)."""
        whole = min(self.longest, self.first * 2.0 ** min(max(failures - 1, 0), _MAX_DOUBLINGS))
        return whole * (1 + random) / 2

"""The machine's clocks, as the relay process reads them."""

from __future__ import annotations

import time
from typing import Final

from wireguard_mesh.core.instant import Instant

# One that counts while the machine sleeps, as WireGuard's sessions grow old, where there is one.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> Instant:
    """This moment."""
    return Instant(time.clock_gettime(_CLOCK), time.time())

"""The machine's clocks, read in one place."""

from __future__ import annotations

import time
from collections.abc import Callable

from wireguard_mesh.core.instant import Instant

Clock = Callable[[], Instant]


def now() -> Instant:
    """This moment. The monotonic clock is one that counts while the machine sleeps, where there is one."""
    return Instant(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())

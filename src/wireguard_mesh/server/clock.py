"""The two clocks, in one place, so that tests can turn them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall` gives Unix seconds, for people and for what outlives the process; `monotonic` decides what is late."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

"""How far a relay is, said so coarsely that noise changes nothing: what is said is in every peer's map."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

SAMPLES: Final = 8  # round trips of which the least counts: what is above it is queues, not distance
STEP: Final = 1.2  # between two distances that are told apart
NOISE: Final = 1.3  # more than a step: within this factor of what was said, it is still said
GRAIN: Final = 1.0  # milliseconds within which round trips are the same, whatever their ratio
LONGEST: Final = 10_000  # milliseconds; whatever takes longer is as useless


class Distance:
    """Of one relay."""

    __slots__ = ("_said", "_samples")

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._said: int | None = None

    def add(self, seconds: float) -> None:
        """A round trip was measured."""
        self._samples.append(max(0.0, seconds) * 1000)
        least = min(self._samples)
        if self._said is None or not self._said / NOISE - GRAIN <= least <= self._said * NOISE + GRAIN:
            self._said = stepped(least)

    def forget(self) -> None:
        """The network is another; what was said holds until something else is measured."""
        self._samples.clear()

    @property
    def milliseconds(self) -> int | None:
        """What to say of it; None before anything was measured."""
        return self._said


def stepped(milliseconds: float) -> int:
    """The nearest of the steps, from 1 to `LONGEST`."""
    steps = round(math.log(max(1.0, milliseconds), STEP))
    return min(LONGEST, round(STEP**steps))

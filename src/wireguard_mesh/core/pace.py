"""How fast a program may do of its own accord what others give it reason to: a burst at once, then a steady rate.

The generic cell rate algorithm (ITU-T I.371, annex A), with waiting in place of refusing.
"""

from __future__ import annotations


class Pace:
    """`burst` times at once, `rate` times a second in the long run."""

    __slots__ = ("_due", "_interval", "_tolerance")

    def __init__(self, burst: int, rate: float) -> None:
        self._interval = 1 / rate
        self._tolerance = burst / rate
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Count one more time; seconds to wait before it. `now` in monotonic seconds."""
        self._due = max(self._due, now) + self._interval
        return max(0.0, self._due - now - self._tolerance)

"""Whether some other side (the server, a backend) does its part: what to say about it, once, and when to try again."""

from __future__ import annotations

from typing import Final

import msgspec

from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.instant import Instant

NEVER: Final = 0.0


class Failure(msgspec.Struct, frozen=True):
    """What to do about a failure: wait `delay` seconds, and say it if it is `news`."""

    delay: float
    news: bool


class Contact:
    """Counts failures in a row of one other side.

    `since`: Unix seconds of when it last changed between working and failing; `problem` is "" while it works.
    """

    __slots__ = ("_backoff", "failures", "problem", "since")

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.failures = 0
        self.problem = ""
        self.since = NEVER

    @property
    def works(self) -> bool:
        """Whether the last attempt succeeded."""
        return self.failures == 0 and self.since != NEVER

    def succeeded(self, now: Instant) -> bool:
        """Note a success. True if a fault that was said is over, so that this can be said too."""
        over = self.failures > 0
        if over or self.since == NEVER:
            self.since = now.wall
        self.failures = 0
        self.problem = ""
        return over

    def failed(self, problem: str, now: Instant, random: float) -> Failure:
        """Note a failure. It is news if it is the first, or another one than before."""
        news = problem != self.problem
        if self.failures == 0:
            self.since = now.wall
        self.failures += 1
        self.problem = problem
        return Failure(self._backoff.delay(self.failures, random), news)

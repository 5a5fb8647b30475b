"""Whether some other side (the server, a backend) does its part, so that each fault is said once, and its end once."""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.instant import Instant

NEVER: Final = 0.0


class Contact:
    """What the last attempts came to. `since`: Unix seconds since when it is so; `problem` is "" while all is well."""

    __slots__ = ("_kind", "problem", "since")

    def __init__(self) -> None:
        self._kind = ""
        self.problem = ""
        self.since = NEVER

    @property
    def works(self) -> bool:
        """Whether there was an attempt, and the last one succeeded."""
        return self.since != NEVER and not self.problem

    def succeeded(self, now: Instant) -> bool:
        """Note a success. True if a fault that was said is over, so that this can be said too."""
        over = bool(self.problem)
        if not self.works:
            self.since = now.wall
        self.problem = self._kind = ""
        return over

    def failed(self, problem: str, now: Instant, kind: str = "") -> bool:
        """Note a failure. True if it is news: the first in a row, or of another kind than the last.

        `kind` tells faults apart whose `problem` has changing details; by default the text itself does.
        """
        kind = kind or problem
        news = not self.problem or kind != self._kind
        if not self.problem:
            self.since = now.wall
        self.problem, self._kind = problem, kind
        return news


class Calls:
    """Several kinds of call to one other side: all is well only when none fails any more.

    One of the connections may work while another does not; that is no end of the fault, and no news each time.
    """

    __slots__ = ("_failing", "_said", "contact")

    def __init__(self) -> None:
        self.contact = Contact()
        self._failing: set[str] = set()
        self._said: set[str] = set()

    @property
    def is_failing(self) -> bool:
        """Whether any call failed last."""
        return bool(self._failing)

    def failed(self, call: str, problem: str, now: Instant, kind: str) -> bool:
        """Note a failure. True if it is news: the first of its kind since all was well."""
        self._failing.add(call)
        self.contact.failed(problem, now, kind)
        is_news = kind not in self._said
        self._said.add(kind)
        return is_news

    def answered(self, call: str) -> None:
        """Note that the other side answered, if not as it was asked to."""
        self._failing.discard(call)

    def succeeded(self, call: str, now: Instant) -> bool:
        """Note a success. True if with it all is well again."""
        self._failing.discard(call)
        if self._failing:
            return False
        self._said.clear()
        return self.contact.succeeded(now)

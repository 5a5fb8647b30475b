"""How the map comes to this machine: by the server's stream, or where streams do not get through, by asking again and
again. Says when to try a stream and when to ask; whoever runs it opens connections and tells what came of them.

* A stream that had worked and ends is opened again at a random moment within the time that the server named, so that a
  server which starts anew is not called by all at once; in a small mesh that is at once.
* A server that cannot be reached is tried again by backoff, and each attempt is at a random moment of that time too: it
  is not known which of them will be the one that all succeed with.
* Where requests are answered but streams bring nothing, or are cut again and again as soon as they work, something
  between here and the server is in the way. Then the map is asked for, and a stream tried now and then.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.protocol.events import KEEPALIVE_SECONDS
from wireguard_mesh.protocol.status import MapSource

FIRST_STEP: Final = 10.0  # seconds until a stream must have brought its first step
SILENCE: Final = 2 * KEEPALIVE_SECONDS + 5  # so two of its words were lost, and were not merely late
BEHIND: Final = 10.0  # seconds that a stream may be late with what the server named elsewhere
LONG: Final = 30.0  # seconds after which a stream that ended was none that is cut as soon as it works
SHORT_ONES: Final = 3  # streams in a row that may be shorter: a server that is being restarted has some
EARLY: Final = 0.1  # of the interval, by which a question may be early
LONGEST_SPREAD: Final = 300.0  # seconds, whatever the server says
RETRY: Final = Backoff(first=0.25, longest=15.0)  # of a server that cannot be reached
AGAIN: Final = Backoff(first=2.0, longest=300.0)  # of a stream that something is in the way of
NEVER: Final = float("inf")


class End(StrEnum):
    """What came of a stream. `worked`: it brought a step at least. `blocked`: it brought none, though the server's
    address answered. `failed`: the server was not reached, or what it said cannot be used."""

    WORKED = "worked"
    BLOCKED = "blocked"
    FAILED = "failed"


class Feed:
    """`stream_at` and `poll_at` say when it is time for which. Times are monotonic seconds; `random` is in [0, 1)."""

    def __init__(self, now: float, interval: float) -> None:
        """`interval`: seconds between two questions."""
        self.source = MapSource.NONE
        self.stream_at = now
        self.poll_at = NEVER
        self._interval = interval
        self._spread = 0.0
        self._works_since = now
        self._short = 0
        self._blocked = 0
        self._failed = 0
        self._unanswered = 0

    @property
    def is_blocked(self) -> bool:
        """Whether something holds back streams, and not the server's answers."""
        return self.source is MapSource.POLLING and self._blocked > 0 and self._unanswered == 0

    def spread_over(self, seconds: float) -> None:
        """The server said over how long its clients are to spread their calls."""
        self._spread = min(seconds, LONGEST_SPREAD)

    def patience(self, now: float, behind_since: float | None) -> float:
        """Seconds that the stream may be silent from now on. `behind_since`: since when the server is known to have
        what the stream did not bring, None if it has not."""
        if self.source is not MapSource.STREAM:
            return FIRST_STEP
        return SILENCE if behind_since is None else min(SILENCE, max(0.0, behind_since + BEHIND - now))

    def stream_works(self, now: float) -> None:
        """A stream brought its first step."""
        self.source = MapSource.STREAM
        self.poll_at = NEVER
        self._works_since = now
        self._failed = self._unanswered = 0

    def stream_ended(self, end: End, now: float, random: float) -> None:
        """The stream is over, or never came about."""
        if end is End.FAILED:
            self._failed += 1
            self.stream_at = now + self._spread_out(RETRY, self._failed, random)
            self._leave_stream()
        elif end is End.BLOCKED or self._is_cut_again(now):
            self._blocked += 1
            self.stream_at = now + self._spread_out(AGAIN, self._blocked, random)
            if self.source is not MapSource.POLLING or self._blocked == 1:
                self.source, self.poll_at = MapSource.POLLING, min(self.poll_at, now + self._spread * random)
        else:
            self.stream_at = now + self._spread * random
            self._leave_stream()

    def _spread_out(self, backoff: Backoff, failures: int, random: float) -> float:
        """Seconds until the next attempt: a server of many is called by no more of them at a time than it wants."""
        return max(backoff.delay(failures, random), self._spread * random)

    def _leave_stream(self) -> None:
        if self.source is MapSource.STREAM:
            self.source = MapSource.NONE

    def _is_cut_again(self, now: float) -> bool:
        if now - self._works_since >= LONG:
            self._short = self._blocked = 0
            return False
        self._short += 1
        return self._short > SHORT_ONES

    def polled(self, is_answered: bool, now: float, random: float) -> None:
        """A question was answered, or not."""
        if is_answered and self._unanswered:
            # It was the server that did not answer, and nothing that holds back streams only.
            self._blocked = 0
            self.stream_at = min(self.stream_at, now + self._spread * random)
        self._unanswered = 0 if is_answered else self._unanswered + 1
        if self.source is MapSource.POLLING:
            # Those who began at the same moment do not ask at the same moments for ever.
            wait = self._interval * (1 - EARLY * random)
            self.poll_at = now + (wait if is_answered else min(wait, self._spread_out(RETRY, self._unanswered, random)))

    def news(self, now: float) -> None:
        """The server is known to have what this machine has not: a question is due, if that is how the map comes."""
        if self.source is MapSource.POLLING:
            self.poll_at = min(self.poll_at, now)

    def server_answers(self, now: float, random: float) -> None:
        """The server is there again: what waits for it need wait no longer than those do who lost their stream."""
        soon = now + self._spread * random
        if self._failed:
            self.stream_at = min(self.stream_at, soon)
        if self._unanswered and self.source is MapSource.POLLING:
            self.poll_at = min(self.poll_at, soon)

    def network_changed(self, now: float) -> None:
        """What was in the way may be so no longer: everything is tried at once."""
        self._short = self._blocked = self._failed = self._unanswered = 0
        self.stream_at = min(self.stream_at, now)
        self.news(now)

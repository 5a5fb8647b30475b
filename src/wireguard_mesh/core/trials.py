"""What came of trying a peer's candidates, kept for those who ask why a path is what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import Candidate, CandidateKind, Outcome, Trial

WAIT: Final = 1.0  # seconds for which an answer may yet come: longer than nearly all round trips
_NEVER: Final = float("-inf")


@dataclass(slots=True)
class _Tally:
    """One address. Monotonic seconds."""

    times: int = 0
    tried_at: float = _NEVER
    heard_at: float = _NEVER


class Trials:
    """Those of one peer. Costs nothing until one is tried."""

    __slots__ = ("_tallies",)

    def __init__(self) -> None:
        self._tallies: dict[Endpoint, _Tally] = {}

    def tried(self, endpoint: Endpoint, now: Instant) -> None:
        """A packet was sent there."""
        tally = self._tallies.setdefault(endpoint, _Tally())
        tally.times += 1
        tally.tried_at = now.monotonic

    def heard(self, endpoint: Endpoint, now: Instant) -> None:
        """The peer was heard from there."""
        self._tallies.setdefault(endpoint, _Tally()).heard_at = now.monotonic

    def keep(self, candidates: Sequence[Candidate]) -> None:
        """Forget all others."""
        names = {candidate.endpoint for candidate in candidates}
        self._tallies = {endpoint: tally for endpoint, tally in self._tallies.items() if endpoint in names}

    def report(self, candidates: Sequence[Candidate], now: Instant) -> tuple[Trial, ...]:
        """The candidates in their order, then where the peer was heard besides."""
        named = {candidate.endpoint for candidate in candidates}
        seen = [Candidate(endpoint, CandidateKind.SEEN) for endpoint in self._tallies if endpoint not in named]
        return tuple(self._trial(candidate, now) for candidate in (*candidates, *seen))

    def _trial(self, candidate: Candidate, now: Instant) -> Trial:
        tally = self._tallies.get(candidate.endpoint, _Tally())
        return Trial(
            endpoint=candidate.endpoint,
            kind=candidate.kind,
            outcome=_outcome(tally, now),
            times=tally.times,
            last_tried=wall_time(tally.tried_at, now),
            last_heard=wall_time(tally.heard_at, now),
        )


def _outcome(tally: _Tally, now: Instant) -> Outcome:
    if tally.heard_at != _NEVER and tally.heard_at + WAIT >= tally.tried_at:
        return Outcome.HEARD
    if tally.tried_at == _NEVER:
        return Outcome.UNTRIED
    return Outcome.WAITING if now.monotonic < tally.tried_at + WAIT else Outcome.SILENT


def wall_time(moment: float, now: Instant) -> float | None:
    """A monotonic moment as Unix seconds; None if it never was or will be."""
    return None if moment in (_NEVER, -_NEVER) else now.wall - now.monotonic + moment

"""When the candidates of one peer are tried, and which of them: at once when there is news, then less and less."""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.endpoints import is_unlikely
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.probes import MAX_CANDIDATES
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import Candidate, CandidateKind
from wireguard_mesh.model.relays import NatClass

# Seconds between the first two rounds; each other pause is twice as long as the one before. The two ends have others,
# lest each, pointing WireGuard back, undoes each time what the other's packet did at the same moment.
FIRST_PAUSE: Final = 0.05
FIRST_PAUSE_ELECTED: Final = 0.03
LONGEST_PAUSE: Final = 300.0
HOPELESS_PAUSE: Final = 60.0  # between two hard NATs, after HOPELESS_ROUNDS
HOPELESS_ROUNDS: Final = 3
SENDER_TRIES: Final = 4  # each fourth round an end that sends a flow tries itself
HARD_TRIES: Final = 2  # and in so many first ones behind a hard NAT
DOUBTFUL_TRIES: Final = 4  # each fourth round doubtful candidates are tried too
_DOUBLINGS: Final = 16  # beyond LONGEST_PAUSE anyhow, and no power that overflows
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class Rounds:
    """Those of one peer. All times are monotonic seconds."""

    __slots__ = ("_count", "_is_elected", "_sent_at", "candidates", "due_at", "nats")

    def __init__(self, *, is_elected: bool) -> None:
        self.candidates: tuple[Candidate, ...] = ()
        """Where the peer may be reached directly, best first."""
        self.nats = (NatClass.UNKNOWN, NatClass.UNKNOWN)
        """What stands before this machine, and before the peer."""
        self.due_at = _FOREVER
        """When the next round is due."""
        self._is_elected = is_elected
        self._count = 0
        self._sent_at = _NEVER

    def hurry(self, not_before: float, now: Instant) -> None:
        """Candidates are to be tried now, and from now on as from the beginning."""
        self._count = 0
        self.due_at = max(now.monotonic, self._sent_at + FIRST_PAUSE, not_before)

    def resume(self, now: Instant) -> None:
        """Candidates are to be tried again, as before."""
        self.due_at = now.monotonic + self._pause()

    def stop(self) -> None:
        """There is nothing to look for."""
        self.due_at = _FOREVER

    def begin(self, now: Instant) -> None:
        """A round is sent now; the next one follows by itself."""
        self._count += 1
        self._sent_at = now.monotonic
        self.due_at = now.monotonic + self._pause()

    def _pause(self) -> float:
        """Seconds until the next round."""
        if self._is_hopeless() and self._count > HOPELESS_ROUNDS:
            return min(LONGEST_PAUSE, HOPELESS_PAUSE * 2.0 ** min(_DOUBLINGS, self._count - HOPELESS_ROUNDS - 1))
        first = FIRST_PAUSE_ELECTED if self._is_elected else FIRST_PAUSE
        return min(LONGEST_PAUSE, first * 2.0 ** min(_DOUBLINGS, max(0, self._count - 1)))

    def _is_hopeless(self) -> bool:
        """Whether both ends are behind hard NATs, and nothing leads past them."""
        if self.nats != (NatClass.HARD, NatClass.HARD):
            return False
        return not self._has_fixed()

    def sender_tries(self) -> bool:
        """Whether an end that sends a flow tries itself in the round that is due: behind a hard NAT at first, when its
        packet is the only one that can find the way, and now and then in any case. Before a peer behind a hard NAT it
        is never found where relays hear it."""
        here, there = self.nats
        if there is NatClass.HARD and not self._has_fixed():
            return False
        return self._count % SENDER_TRIES == SENDER_TRIES - 1 or (here is NatClass.HARD and self._count < HARD_TRIES)

    def _has_fixed(self) -> bool:
        """Whether there is a candidate that does not depend on the peer's NAT."""
        return any(one.kind is not CandidateKind.REFLEXIVE and not is_unlikely(one) for one in self.candidates)

    def near(self) -> tuple[Endpoint, ...]:
        """The candidates on a link that both ends are on."""
        return tuple(one.endpoint for one in self.candidates if one.kind is CandidateKind.LAN)

    def targets(self, *, is_near_only: bool, is_at_stake: bool) -> tuple[Endpoint, ...]:
        """Whom to try in the round that is due: the best last, which so stays where several arrive.

        `is_near_only`: nothing else is better than what stands. `is_at_stake`: a flow pays for it, and what hardly ever
        works is left out.
        """
        wanted = [
            one.endpoint
            for one in self.candidates
            if self._is_wanted(one.kind, is_near_only=is_near_only) and not (is_at_stake and is_unlikely(one))
        ]
        return tuple(reversed(wanted[:MAX_CANDIDATES]))

    def _is_wanted(self, kind: CandidateKind, *, is_near_only: bool) -> bool:
        if is_near_only:
            return kind is CandidateKind.LAN
        return kind is not CandidateKind.DOUBTFUL or self._count % DOUBTFUL_TRIES == DOUBTFUL_TRIES - 1

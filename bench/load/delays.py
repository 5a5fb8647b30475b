"""When each change came to each client.

A step is the same object for all clients that go it together, so each of them only counts itself into the histogram of
the step, and afterwards a change's delays are read from the histograms of the steps that had it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId

TICKS: Final = 10_000  # a second: how finely times are kept

# By what a change is known when it comes: a key and its new endpoint (if it joins, too), or the id of one that left.
Mark = tuple[PublicKey, str] | PeerId


class Arrivals:
    """How many clients took a step, by tick of the monotonic clock."""

    __slots__ = ("ticks",)

    def __init__(self) -> None:
        self.ticks: dict[int, int] = {}

    def note(self, now: float) -> None:
        """One client took it. The hot path of all: once for each client and change."""
        tick = int(now * TICKS)
        self.ticks[tick] = self.ticks.get(tick, 0) + 1


@dataclass(slots=True)
class Change:
    """One change of the mesh. `sent` and `acknowledged` in monotonic seconds, 0.0 as long as it was not."""

    kind: str
    sent: float
    acknowledged: float = 0.0
    steps: list[Arrivals] = field(default_factory=list)

    @property
    def deliveries(self) -> int:
        """To how many clients it came."""
        return sum(sum(step.ticks.values()) for step in self.steps)

    @property
    def last(self) -> float:
        """Seconds from the sending until the last client had it."""
        return max(tick for step in self.steps for tick in step.ticks) / TICKS - self.sent


class Watch:
    """The changes that are looked out for."""

    def __init__(self) -> None:
        self._awaited: dict[Mark, Change] = {}

    def expect(self, mark: Mark, change: Change) -> None:
        """Look out for a change, from before it is sent."""
        self._awaited[mark] = change

    def clear(self) -> None:
        """Look out for nothing any more."""
        self._awaited.clear()

    def step(self, marks: Iterable[Mark]) -> Arrivals | None:
        """Where those who take this step are to be noted; None if nothing in it is looked out for."""
        if not self._awaited:
            return None
        changes = [self._awaited[mark] for mark in marks if mark in self._awaited]
        if not changes:
            return None
        arrivals = Arrivals()
        for change in changes:
            change.steps.append(arrivals)
        return arrivals


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds, over all changes and all clients."""

    p50: float
    p99: float
    longest: float
    deliveries: int


def delays(changes: Iterable[Change], *, acknowledged: bool = False) -> Delays:
    """From the sending (or the answer) of each change to each client that it came to."""
    counts: Counter[int] = Counter()
    for change in changes:
        start = int((change.acknowledged if acknowledged else change.sent) * TICKS)
        for step in change.steps:
            for tick, number in step.ticks.items():
                counts[max(0, tick - start)] += number
    total = sum(counts.values())
    if not total:
        return Delays(0.0, 0.0, 0.0, 0)
    ordered = sorted(counts.items())
    return Delays(_quantile(ordered, total, 0.5), _quantile(ordered, total, 0.99), ordered[-1][0] / TICKS, total)


def _quantile(ordered: list[tuple[int, int]], total: int, share: float) -> float:
    passed = 0
    for tick, number in ordered:
        passed += number
        if passed >= share * total:
            return tick / TICKS
    raise AssertionError("shares are at most 1")

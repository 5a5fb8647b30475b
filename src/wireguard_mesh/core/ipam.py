"""Which host number a peer gets: the lowest that is free, and never one that was given back a moment ago.

A number that a peer gives back is quarantined: others still send to it, and names still resolve to it. Its former owner
may have it again at once. Free numbers are kept as intervals, so that a /8 costs no more than a /24, and taking one or
giving it back costs the logarithm of the number of gaps.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from wireguard_mesh.model.errors import Exhausted, InvalidValue
from wireguard_mesh.model.keys import PublicKey

QUARANTINE_SECONDS: Final = 3600.0


class Lease(msgspec.Struct, frozen=True):
    """A number in quarantine: whose it was, and until when (Unix seconds) nobody else gets it."""

    number: int
    public_key: PublicKey
    until: float


class Pool:
    """The host numbers 1 to `capacity` of one network.

    A pool in a snapshot is never changed: decisions work on a `copy()`. `touched` are the numbers whose quarantine may
    have changed since the copy was made.
    """

    __slots__ = ("_by_key", "_free", "_leases", "_queue", "capacity", "touched")

    def __init__(self, capacity: int, used: Iterable[int] = (), leases: Iterable[Lease] = ()) -> None:
        """Raises `InvalidValue` if a number is used twice, or is none of the network."""
        self.capacity = capacity
        self.touched: set[int] = set()
        self._leases: dict[int, Lease] = {lease.number: lease for lease in leases}
        self._by_key: dict[PublicKey, int] = {lease.public_key: lease.number for lease in self._leases.values()}
        self._queue = [(lease.until, lease.number) for lease in self._leases.values()]
        heapq.heapify(self._queue)
        self._free = list(_gaps(capacity, sorted((*used, *self._leases))))

    def copy(self) -> Pool:
        """A pool that can be changed without changing this one."""
        twin = Pool.__new__(Pool)
        twin.capacity = self.capacity
        twin.touched = set()
        twin._leases = self._leases.copy()
        twin._by_key = self._by_key.copy()
        twin._queue = self._queue.copy()
        twin._free = self._free.copy()
        return twin

    @property
    def free(self) -> int:
        """How many numbers nobody has, and nobody had a moment ago."""
        return sum(last - first + 1 for first, last in self._free)

    @property
    def leases(self) -> Mapping[int, Lease]:
        """The numbers in quarantine; those whose time has passed are among them until a number is next taken."""
        return self._leases

    def take(self, public_key: PublicKey, now: float) -> int:
        """A number for a key that has none: the one that it had while that is quarantined, else the lowest free one.

        Raises `Exhausted`.
        """
        former = self._by_key.get(public_key)
        if former is not None:
            self._forget(former)
            return former
        self._expire(now)
        if not self._free:
            raise self._exhausted(now)
        return self._take_lowest()

    def give_back(self, number: int, public_key: PublicKey, until: float) -> None:
        """Put a used number into quarantine until `until` (Unix seconds)."""
        lease = Lease(number, public_key, until)
        self._leases[number] = lease
        self._by_key[public_key] = number
        self.touched.add(number)
        heapq.heappush(self._queue, (until, number))

    def follow(
        self, before: Iterable[int], after: Iterable[int], leases: Iterable[Lease], released: Iterable[int]
    ) -> None:
        """Do as another server did. Of the peers that it touched: the numbers that they had `before`, and have `after`;
        the `leases` that it made, and the numbers that it `released` from quarantine since.

        Raises `InvalidValue` if a number is used twice, or is none of the network.
        """
        new = {lease.number: lease for lease in leases}
        wanted = {*after, *new}
        lifted = set(before)
        for number in {*wanted, *released} & self._leases.keys():
            self._forget(number)
            lifted.add(number)
        for number in lifted - wanted:
            heapq.heappush(self._free, (number, number))
        self._take_out(sorted(wanted - lifted))
        for lease in new.values():
            self.give_back(lease.number, lease.public_key, lease.until)

    def _take_out(self, numbers: list[int]) -> None:
        inner = []
        for number in numbers:
            if self._free and self._free[0][0] == number:
                self._take_lowest()
            else:
                inner.append(number)
        if inner:
            expected = self.free - len(inner)
            self._free = [gap for span in self._free for gap in _without(span, inner)]
            heapq.heapify(self._free)
            if self.free != expected:
                raise InvalidValue("a host number is used twice, or is none of the network")

    def _take_lowest(self) -> int:
        first, last = self._free[0]
        if first == last:
            heapq.heappop(self._free)
        else:
            heapq.heapreplace(self._free, (first + 1, last))
        return first

    def _expire(self, now: float) -> None:
        while self._queue and self._queue[0][0] <= now:
            until, number = heapq.heappop(self._queue)
            lease = self._leases.get(number)
            # The queue may still name a quarantine that its owner ended, and that began anew later.
            if lease is not None and lease.until == until:
                self._forget(number)
                heapq.heappush(self._free, (number, number))

    def _forget(self, number: int) -> None:
        lease = self._leases.pop(number)
        self.touched.add(number)
        if self._by_key.get(lease.public_key) == number:
            del self._by_key[lease.public_key]

    def _exhausted(self, now: float) -> Exhausted:
        message = f"all {self.capacity} addresses of the network are taken"
        if not self._leases:
            return Exhausted(message, "remove peers that are gone, or start a mesh with a larger -network")
        minutes = math.ceil((min(lease.until for lease in self._leases.values()) - now) / 60)
        return Exhausted(
            f"{message}, {len(self._leases)} of them given back not long ago",
            f"the first becomes free in {minutes} min; or start a mesh with a larger -network",
        )


def _gaps(capacity: int, taken: list[int]) -> Iterator[tuple[int, int]]:
    # In ascending order, which is a heap already.
    first = 1
    for number in taken:
        if not first <= number <= capacity:
            raise InvalidValue(f"host number {number} is used twice, or is none of 1 to {capacity}")
        if first < number:
            yield (first, number - 1)
        first = number + 1
    if first <= capacity:
        yield (first, capacity)


def _without(span: tuple[int, int], numbers: list[int]) -> Iterator[tuple[int, int]]:
    # The numbers are in ascending order.
    first, last = span
    for number in numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]:
        if first < number:
            yield (first, number - 1)
        first = number + 1
    if first <= last:
        yield (first, last)

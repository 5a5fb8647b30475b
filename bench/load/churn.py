"""Changes at a given rate: machines join, leave and move, a third each.

One that joins opens a stream too, and gets the whole map, as a real one does. One that leaves just leaves: it is the
server that ends its stream.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from bench.load.delays import Change
from bench.load.fleet import Fleet
from bench.load.members import Refused, endpoint
from bench.load.streams import Stream

REST_SECONDS: Final = 2.0  # a machine changes no more often, so that no change hides another one
_TRIES: Final = 200
_SHOWN: Final = 120  # characters of a failure that tell it apart
_MOVED: Final = 1 << 16  # endpoints from here on are those of machines that moved


class Churn:
    """Changes of a fleet, and what became of them. `left`: how many have, so that many streams the server is to end."""

    def __init__(self, fleet: Fleet) -> None:
        self.changes: list[Change] = []
        self.failures: Counter[str] = Counter()
        self.left = 0
        self._fleet = fleet
        self._streams = list(fleet.streams)
        self._moves = 0

    async def run(self, rate: float, seconds: float) -> float:
        """So many changes a second. Returns the rate that was reached, when all are acknowledged."""
        begin = time.monotonic()
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
            change = (self.join, self.leave, self.move)[number % 3]
            tasks.append(loop.create_task(self._counted(change)))
        sent = time.monotonic() - begin
        await asyncio.gather(*tasks)
        return len(self.changes) / sent

    async def join(self) -> Change:
        """A new machine; returns when it is registered and has its map."""
        fleet = self._fleet
        member = fleet.new_member()
        change = Change("join", time.monotonic())
        fleet.traffic.watch.expect((member.public_key, str(member.endpoint)), change)
        await member.register(fleet.calls_of(len(self.changes)))
        self._done(change)
        fleet.admit(member)
        stream = fleet.add(member)
        await stream.open()
        member.changed = time.monotonic()
        self._streams.append(stream)
        return change

    async def leave(self) -> Change:
        """A machine goes for good."""
        stream = self._pick()
        self._streams.remove(stream)
        member = stream.member
        change = Change("leave", time.monotonic())
        self._fleet.traffic.watch.expect(member.peer_id, change)
        # From before it is sent: the server may end the stream before it answers.
        self._fleet.drop(stream)
        self.left += 1
        await member.leave(self._fleet.calls_of(len(self.changes)))
        self._done(change)
        return change

    async def move(self) -> Change:
        """A machine has another address."""
        member = self._pick().member
        self._moves += 1
        member.endpoint = endpoint(_MOVED + self._moves)
        change = Change("move", time.monotonic())
        self._fleet.traffic.watch.expect((member.public_key, str(member.endpoint)), change)
        await member.beat(self._fleet.calls_of(len(self.changes)))
        self._done(change)
        return change

    async def _counted(self, change: Callable[[], Awaitable[Change]]) -> None:
        try:
            await change()
        except (Refused, OSError, TooFew) as error:
            self.failures[str(error)[:_SHOWN]] += 1

    def _pick(self) -> Stream:
        now = time.monotonic()
        for _ in range(_TRIES):
            stream = random.choice(self._streams)
            if now - stream.member.changed >= REST_SECONDS:
                stream.member.changed = now
                return stream
        raise TooFew("there was no machine that had not just changed")

    def _done(self, change: Change) -> None:
        change.acknowledged = time.monotonic()
        self.changes.append(change)


class TooFew(Exception):
    """More changes were asked for than there are machines."""

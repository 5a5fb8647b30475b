"""The one that writes: commands wait in a queue, and all that wait are decided and made durable together.

While one batch is on its way to the disk, the next one gathers: the busier the server, the larger the batches, and no
timer is needed. Nobody sees a revision before it is durable. What other servers on the same database wrote is followed
before each batch, and when the database tells of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, overload

from wireguard_mesh.core.commands import Command, PeerCommand, RelayCommand
from wireguard_mesh.core.ipam import QUARANTINE_SECONDS
from wireguard_mesh.core.registry import Outcome, Reply, decide
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.errors import MeshError, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.store.database import Head
from wireguard_mesh.store.faults import Unreachable
from wireguard_mesh.store.store import Store

log = logging.getLogger(__name__)

MAX_BATCH: Final = 500
MAX_QUEUE: Final = 5_000
SEE_SECONDS: Final = 1.0  # many times what catching up takes
_LOOKS: Final = 2  # the one that was under way already may have come too early
STOP_SECONDS: Final = 1.5  # less than what connections are given at the end, so that all who wait are answered

Waiting = tuple[Command, asyncio.Future[Any]]


class Writer:
    """Holds the snapshot that every read is served from, and is alone in replacing it."""

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        clock: Clock,
        *,
        quarantine: float = QUARANTINE_SECONDS,
        max_queue: int = MAX_QUEUE,
    ) -> None:
        self.snapshot = snapshot
        self._store = store
        self._clock = clock
        self._quarantine = quarantine
        self._max_queue = max_queue
        self._queue: deque[Waiting] = deque()
        self._work = asyncio.Event()
        self._stopping = False
        self._failing = False
        self._said: set[type[Exception]] = set()  # what was logged since a write succeeded
        self._probing = False
        self._told: Head | None = None  # where the database stands, as far as was told
        self._look = False
        self._looked = asyncio.Event()  # what others wrote was looked at the next time
        self._lost: Unavailable | None = None  # why the database cannot be reached
        self._batch: list[Waiting] = []  # on its way to the disk
        # Called in the event loop with each new snapshot, when it is durable and in place; must return at once.
        self.on_publish: list[Callable[[Snapshot], None]] = []

    @overload
    async def submit(self, command: PeerCommand) -> Record: ...

    @overload
    async def submit(self, command: RelayCommand) -> Relay: ...

    async def submit(self, command: Command) -> Reply:
        """Have a command carried out; returns when that is durable.

        Raises what the command was refused for, or `Unavailable`: the queue is full, the write failed, or the server
        stops. Nothing was changed then, as far as is known: a disk may fail after it wrote.
        """
        if self._stopping:
            raise Unavailable("the server is stopping", "try again")
        if self._lost is not None:
            raise _for_clients(self._lost)  # at once, and not when each attempt has run into its time limit
        if len(self._queue) >= self._max_queue:
            raise Unavailable("the server has too much to write", "try again in a moment")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._queue.append((command, answer))
        self._work.set()
        return await answer

    @property
    def failing(self) -> bool:
        """The last write failed."""
        return self._failing

    def probe(self) -> None:
        """If the last write failed, see whether one succeeds now."""
        self._probing = self._failing
        self._work.set()

    def look(self, head: Head | None) -> None:
        """The database stands at `head` (None: who knows), and can be reached: see what others wrote."""
        self._lost = None
        if self._failing:
            self.probe()
            return
        self._told = head
        self._look = True
        self._work.set()

    def look_unasked(self) -> None:
        """See what others wrote, should nobody have told of it; not while the database cannot be reached."""
        if self._lost is None:
            self.look(None)

    async def reach(self, version: MapVersion) -> None:
        """Where another server has told a client more than this one knows: see what it wrote."""
        await self._see_others(lambda: not self._is_before(version))

    async def meet(self, public_key: PublicKey) -> None:
        """Where another server may have taken in a peer or relay that is unknown here: see what it wrote."""
        await self._see_others(
            lambda: public_key in self.snapshot.records or self.snapshot.relay_of(public_key) is not None
        )

    async def _see_others(self, is_seen: Callable[[], bool]) -> None:
        if is_seen() or not self._store.shared or self._lost is not None:
            return
        self.look(None)
        with suppress(TimeoutError):
            async with asyncio.timeout(SEE_SECONDS):
                for _ in range(_LOOKS):
                    await self._looked.wait()
                    if is_seen():
                        break

    def _is_before(self, version: MapVersion) -> bool:
        return self.snapshot.epoch == version.epoch and self.snapshot.revision < version.revision

    def lost(self, error: Unavailable) -> None:
        """The database cannot be reached: all changes are refused at once, until `look`, or until a probe succeeds."""
        self._lost = error
        self._note_failure(error)

    async def run(self) -> None:
        """Write until `stop`, and then what still waits."""
        while self._queue or not self._stopping:
            self._work.clear()
            if not (self._queue or self._probing):
                if self._look:
                    await self._catch_up()
                    self._say_looked()
                else:
                    await self._work.wait()
                continue
            self._probing = self._look = False
            self._batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
            try:
                await self._carry_out(self._batch)
            except Exception as error:
                # A fault of ours. Whoever waits must hear of it, and the others must go on being served. It may have
                # come after the commit: the next batch is decided on what the database has.
                if self._is_new(error):
                    log.exception("a batch of commands failed")
                self._failing = True
                _fail(self._batch, Unavailable("the server failed at this", "try again"))
            self._batch = []
            self._say_looked()

    def stop(self) -> None:
        """Accept no more; what is not durable in `STOP_SECONDS` is refused."""
        self._stopping = True
        self._work.set()
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._give_up)

    def _give_up(self) -> None:
        _fail([*self._batch, *self._queue], Unavailable("the server stops and could not write this", "try again"))
        self._queue.clear()

    async def _carry_out(self, batch: list[Waiting]) -> None:
        commands = [command for command, _ in batch]

        def decided(base: Snapshot, now: float) -> Outcome:
            return decide(base, commands, now, self._quarantine)

        try:
            outcome = await self._store.commit(self.snapshot, decided, self._clock.wall(), always=self._failing)
        except MeshError as error:
            self._note_failure(error)
            _fail(batch, _for_clients(error))
            return
        self._note_success()
        self._publish(outcome.snapshot)
        _answer(batch, outcome)

    async def _catch_up(self) -> None:
        self._look = False
        told, ours = self._told, self.snapshot
        if told is not None and told.epoch == ours.epoch and told.sequence <= ours.sequence:
            return  # most often it is our own batch
        try:
            snapshot = await self._store.catch_up(self.snapshot)
        except MeshError as error:
            self._note_failure(error)
        except Exception as error:
            # A fault of ours, which must not end the writer.
            if self._is_new(error):
                log.exception("what other servers wrote could not be read")
            self._failing = True
        else:
            self._publish(snapshot)

    def _say_looked(self) -> None:
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    def _publish(self, snapshot: Snapshot) -> None:
        before, self.snapshot = self.snapshot, snapshot
        if snapshot is before:
            return
        for told in self.on_publish:
            try:
                told(snapshot)
            except Exception:
                # A fault of ours. What was written is written, and the others are to know of it.
                log.exception("a change could not be passed on")

    def _note_failure(self, error: MeshError) -> None:
        if self._is_new(error):
            log.error("%s; nothing can be registered or changed until then", error)
        self._failing = True

    def _is_new(self, error: Exception) -> bool:
        # A connection that ends amidst a batch, and then cannot be made anew, is one fault.
        kind = Unavailable if isinstance(error, Unreachable) else type(error)
        is_new = kind not in self._said
        self._said.add(kind)
        return is_new

    def _note_success(self) -> None:
        if self._failing:
            log.warning("the database can be written again")
        self._failing = False
        self._lost = None
        self._said.clear()


def _for_clients(error: MeshError) -> MeshError:
    # Where the database is, and what is wrong in it, is for who runs the server.
    if isinstance(error, Unreachable):
        return Unavailable("the server cannot reach its database", "try again in a moment; what stands goes on")
    if isinstance(error, Unavailable):
        return error
    return Unavailable("the server cannot use its database", "its log says why")


def _answer(batch: list[Waiting], outcome: Outcome) -> None:
    for (_, answer), reply in zip(batch, outcome.replies, strict=True):
        if answer.done():
            continue  # whoever asked is gone
        if isinstance(reply, MeshError):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)


def _fail(batch: list[Waiting], error: MeshError) -> None:
    for _, answer in batch:
        if not answer.done():
            # One for each: a raised exception takes the traceback of whoever waited with it.
            answer.set_exception(type(error)(error.message, error.hint))

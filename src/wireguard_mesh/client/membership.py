"""This machine's membership: registers, beats, follows the map, and says once when the server does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import msgspec

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control, NotRegistered, ServerKeyChanged, ServerRefused
from wireguard_mesh.core import netmap
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.contact import Calls, Contact
from wireguard_mesh.core.pace import Pace
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError, Unavailable
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.protocol import api

DEFAULT_HEARTBEAT: Final = 30.0  # seconds
DEFAULT_SYNC: Final = 60.0  # seconds; the oldest that a map gets while the server answers
_RETRY: Final = Backoff(first=0.25, longest=15.0)
# Calls at once, and then a second: changes come at once, and neither a server that always has news (or a proxy that
# answers with nothing) nor an address that comes and goes makes a busy loop.
_QUESTIONS: Final = (20, 5.0)
_BEATS: Final = (10, 0.5)
_REGISTER, _HEARTBEAT, _MAP = "register", "heartbeat", "map"
_LAST_WORD: Final = 2.0  # seconds that the end may be kept waiting for the server

log = logging.getLogger(__name__)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine says of itself."""

    hostname: str
    os: str
    version: str
    endpoints: tuple[Endpoint, ...] = ()
    exit_node: bool = False


class Intervals(msgspec.Struct, frozen=True):
    """Seconds between two heartbeats, and at most between two syncs of the map."""

    heartbeat: float = DEFAULT_HEARTBEAT
    sync: float = DEFAULT_SYNC


class Membership:
    """Speaks to the server for this machine.

    `machine` is asked each time for what to say. `on_map` gets every map that is new, `on_trouble` is called when a
    failure is news. `is_member`: the server took us in before, so a refusal now may pass and is no reason to end.
    """

    def __init__(
        self,
        control: Control,
        machine: Callable[[], Machine],
        intervals: Intervals,
        clock: Clock,
        *,
        on_map: Callable[[NetworkMap], None],
        on_trouble: Callable[[], None],
        is_member: bool,
    ) -> None:
        self.control = control
        self._calls = Calls()
        self.map_received = 0.0
        self._machine = machine
        self._intervals = intervals
        self._clock = clock
        self._on_map = on_map
        self._on_trouble = on_trouble
        self._is_member = self._was_member = is_member
        self._map: NetworkMap | None = None
        self._said: Machine | None = None
        self._hurry = asyncio.Event()
        self._place = asyncio.Lock()  # nobody registers while we leave
        self._left = asyncio.Event()
        self._question: asyncio.Timeout | None = None

    @property
    def has_left(self) -> bool:
        """Whether this machine gave up its place."""
        return self._left.is_set()

    @property
    def contact(self) -> Contact:
        """How it stands with the server."""
        return self._calls.contact

    def announce(self) -> None:
        """This machine may have changed, or its network: tell the server, and do not wait until a retry is due."""
        self._hurry.set()
        self._hurry = asyncio.Event()
        self._ask_again()

    def _ask_again(self) -> None:
        """Give up the question that is open: its connection may be dead without anybody saying so."""
        if self._question is not None and not self._question.expired():
            self._question.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Be a member, until `leave`. Raises `ServerRefused` or `ServerKeyChanged` if the server never took us in."""
        await self._persist(_REGISTER, self._register)
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(self._beat()), group.create_task(self._follow())]
            await self._left.wait()
            for loop in loops:
                loop.cancel()

    async def leave(self) -> None:
        """Give up this machine's place. That it has none is as good. Raises `MeshError`."""
        async with self._place:
            with contextlib.suppress(NotRegistered):
                await self.control.leave()
            self._left.set()

    async def say_last(self) -> None:
        """Say what this machine is now, before it goes: once, and without waiting for a server that is not there."""
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._say()

    async def withdraw(self) -> bool:
        """A start that failed: give up the place if it is of this start. Whether it is given up."""
        if self._was_member or not self._is_member:
            return False
        with contextlib.suppress(MeshError):  # a server that does not hear it calls us offline before long
            await self.leave()
        return self._left.is_set()

    async def _has_left(self) -> bool:
        async with self._place:  # while we leave, that is not known yet
            return self._left.is_set()

    async def _register(self) -> None:
        async with self._place:
            if self._left.is_set():
                return
            machine = self._machine()
            answer = await self.control.register(
                api.RegisterRequest(
                    hostname=machine.hostname,
                    os=machine.os,
                    endpoints=machine.endpoints,
                    exit_node=machine.exit_node,
                    version=machine.version,
                )
            )
        self._said = machine
        if not self._is_member:
            log.info("joined the mesh peer_id=%s", answer.peer_id)
        self._is_member = True
        if answer.map is not None:
            self._take(answer.map)

    async def _beat(self) -> NoReturn:
        """Say that we live, each time that it is due or that there is something new to say."""
        pace = Pace(*_BEATS)
        while True:
            if self._machine() == self._said:
                await self._pause(self._intervals.heartbeat)
            await asyncio.sleep(pace.wait(self._clock().monotonic))
            await self._persist(_HEARTBEAT, self._say)

    async def _say(self) -> None:
        machine, said = self._machine(), self._said
        if said is None or (machine.hostname, machine.os) != (said.hostname, said.os):
            await self._register()
            return
        await self.control.heartbeat(
            api.HeartbeatRequest(
                endpoints=None if machine.endpoints == said.endpoints else machine.endpoints,
                exit_node=None if machine.exit_node == said.exit_node else machine.exit_node,
            )
        )
        self._said = machine

    async def _follow(self) -> NoReturn:
        """Hear of changes as they come: each question stays open at the server until something changes."""
        pace = Pace(*_QUESTIONS)
        while True:
            await asyncio.sleep(pace.wait(self._clock().monotonic))
            await self._persist(_MAP, self._ask)

    async def _ask(self) -> None:
        while True:
            have = self._map
            # After a fault the answer shall come at once, since it tells that all is well again.
            wait = 0 if self._calls.fails(_MAP) else max(1, min(api.MAX_WAIT_SECONDS, int(self._intervals.sync)))
            try:
                async with asyncio.timeout(None) as self._question:
                    update = await self.control.map(have.version if have else None, wait)
            except TimeoutError:
                continue
            finally:
                self._question = None
            self._take(update)
            return

    def _take(self, update: api.MapUpdate) -> None:
        """Raises `Unavailable` for an update that is none; the next question then asks for the whole map."""
        before = self._map
        try:
            self._map = netmap.apply(before, update, self.control.public_key)
        except InvalidValue as error:
            self._map = None
            server = self.control.http.dialer.server
            raise Unavailable(f"the map that {server} sent cannot be used ({error.message})") from None
        self.map_received = self._clock().wall
        if self._map is not before:
            self._on_map(self._map)

    async def _persist(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        """Call until it succeeds. Raises before we are a member what repeating does not help."""
        failures = forgotten = 0
        while True:
            try:
                await call()
            except MeshError as error:
                if not self._is_member and isinstance(error, (ServerRefused, ServerKeyChanged)):
                    raise
                is_forgotten = isinstance(error, NotRegistered)
                if is_forgotten and await self._has_left():
                    return
                failures, forgotten = failures + 1, forgotten + is_forgotten
                if is_forgotten and forgotten == 1:
                    self._calls.answered(what)
                    log.info("the server does not know this machine any more, registering again")
                else:
                    self._note_failure(what, error)
                await self._pause(_RETRY.delay(forgotten if is_forgotten else failures, random.random()))
                if is_forgotten:
                    await self._persist(_REGISTER, self._register)
            except Exception as error:
                if not self.map_received:
                    raise
                failures += 1
                self._note_fault(what, error)
                await self._pause(_RETRY.delay(failures, random.random()))
            else:
                self._note_success(what)
                return

    def _note_failure(self, what: str, error: MeshError) -> None:
        if self._calls.failed(what, str(error), self._clock(), error.code):
            log.warning(
                "%s; trying again%s", error, ", the tunnels stay" if self._was_member or self.map_received else ""
            )
            self._on_trouble()

    def _note_fault(self, what: str, error: Exception) -> None:
        """A fault of ours, which must not end a mesh that stands. The next question asks for the whole map."""
        self._map = None
        if self._calls.failed(what, f"internal error: {error!r}", self._clock(), type(error).__name__):
            log.error("a fault of this program in its talk with the server; trying again", exc_info=error)

    def _note_success(self, what: str) -> None:
        if self._calls.succeeded(what, self._clock()):
            log.info("the server answers again server=%s", self.control.http.dialer.server)
            self._ask_again()
        elif self._calls.is_failing:
            self.announce()  # so that what still fails is tried again at once

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until `announce`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

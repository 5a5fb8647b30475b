"""This machine's membership: registers, beats, follows the map, and says once when the server does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

import msgspec

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control, NotRegistered, ServerKeyChanged, ServerRefused
from wireguard_mesh.core import netmap
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.contact import Contact
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.protocol import api

DEFAULT_HEARTBEAT: Final = 30.0  # seconds
DEFAULT_SYNC: Final = 60.0  # seconds; the oldest that a map gets while the server answers
_RETRY: Final = Backoff(first=0.25, longest=15.0)
_SHORTEST_POLL: Final = 1.0  # seconds from one empty answer to the next question, whatever the server does

log = logging.getLogger(__name__)
T = TypeVar("T")


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
        self.contact = Contact()
        self.map_received = 0.0
        self._machine = machine
        self._intervals = intervals
        self._clock = clock
        self._on_map = on_map
        self._on_trouble = on_trouble
        self._is_member = is_member
        self._map: NetworkMap | None = None
        self._said: Machine | None = None
        self._hurry = asyncio.Event()
        self._has_left = False
        self._question: asyncio.Timeout | None = None

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
        while not self._has_left:
            await self._persist(self._register)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._beat())
                    group.create_task(self._follow())
            except* NotRegistered:
                if not self._has_left:
                    log.info("the server does not know this machine any more, registering again")

    async def leave(self) -> None:
        """Give up this machine's place. That it has none is as good. Raises `MeshError`."""
        with contextlib.suppress(NotRegistered):
            await self.control.leave()
        self._has_left = True

    async def _register(self) -> None:
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
        self._take(answer.map)

    async def _beat(self) -> NoReturn:
        """Say that we live, each time that it is due or that there is something new to say."""
        while True:
            if self._machine() == self._said:
                await self._pause(self._intervals.heartbeat)
            await self._persist(self._say)

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
        while True:
            asked = self._clock().monotonic
            is_news = await self._persist(self._ask)
            if not is_news:
                # A server, or a proxy before it, that answers at once with nothing must not be asked in a busy loop.
                await asyncio.sleep(max(0.0, _SHORTEST_POLL - (self._clock().monotonic - asked)))

    async def _ask(self) -> bool:
        have = self._map
        wait = max(1, min(api.MAX_WAIT_SECONDS, int(self._intervals.sync)))
        try:
            async with asyncio.timeout(None) as self._question:
                update = await self.control.map(api.Since(have.epoch, have.revision) if have else None, wait)
        except TimeoutError:
            return True
        finally:
            self._question = None
        return self._take(update)

    def _take(self, update: api.MapUpdate) -> bool:
        """Whether the update brought something new."""
        before = self._map
        try:
            self._map = netmap.apply(before, update)
        except InvalidValue:
            self._map = None  # the next question asks for the whole map
            return False
        self.map_received = self._clock().wall
        if self._map is before:
            return False
        self._on_map(self._map)
        return True

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds. Raises `NotRegistered`, and before we are a member what repeating does not help."""
        failures = 0
        while True:
            try:
                answer = await call()
            except NotRegistered:
                raise
            except MeshError as error:
                if not self._is_member and isinstance(error, (ServerRefused, ServerKeyChanged)):
                    raise
                failures += 1
                self._note_failure(error)
                await self._pause(_RETRY.delay(failures, random.random()))
            else:
                if self.contact.succeeded(self._clock()):
                    log.info("the server answers again server=%s", self.control.http.dialer.server)
                    self._ask_again()
                return answer

    def _note_failure(self, error: MeshError) -> None:
        if self.contact.failed(str(error), self._clock(), kind=error.code):
            log.warning("%s; trying again, the tunnels stay", error)
            self._on_trouble()

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until `announce`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

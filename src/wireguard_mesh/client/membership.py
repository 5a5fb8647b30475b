"""This machine's membership: registers, beats, leaves. The map that it gets by it is the follower's part."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Final, NoReturn

import msgspec

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control, NotRegistered, ServerKeyChanged, ServerRefused
from wireguard_mesh.client.follower import Follower
from wireguard_mesh.client.server_contact import ServerContact
from wireguard_mesh.core.contact import Contact
from wireguard_mesh.core.feed import RETRY
from wireguard_mesh.core.known_map import KnownMap
from wireguard_mesh.core.pace import Pace
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import RelayDistance
from wireguard_mesh.protocol import api

DEFAULT_HEARTBEAT: Final = 30.0  # seconds
DEFAULT_SYNC: Final = 60.0  # seconds
SHORTEST_HEARTBEAT: Final = 1.0  # seconds, whatever the server asks for
# Beats at once, and then a second: changes are told at once, but an address that comes and goes makes no busy loop.
_BEATS: Final = (10, 0.5)
_REGISTER, _HEARTBEAT = "register", "heartbeat"
_LAST_WORD: Final = 2.0  # seconds that the end may be kept waiting for the server

log = logging.getLogger(__name__)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine says of itself."""

    hostname: str
    os: str
    version: str
    endpoints: tuple[Endpoint, ...] = ()
    mapped: tuple[Endpoint, ...] = ()
    distances: tuple[RelayDistance, ...] = ()
    exit_node: bool = False


class Intervals(msgspec.Struct, frozen=True):
    """Seconds between two heartbeats, unless the server asks for more of them, and between two questions for the map
    where it does not come by stream."""

    heartbeat: float = DEFAULT_HEARTBEAT
    sync: float = DEFAULT_SYNC


class Membership:
    """Speaks to the server for this machine, and keeps `known` what the server has.

    `machine` is asked each time for what to say. `on_member` gets this machine's own record when the server took it in,
    `on_map` is called when `known` may have changed, `on_trouble` when a failure is news. `is_member`: the server took
    us in before, so a refusal now may pass and is no reason to end.
    """

    def __init__(
        self,
        control: Control,
        known: KnownMap,
        machine: Callable[[], Machine],
        intervals: Intervals,
        clock: Clock,
        *,
        on_member: Callable[[Peer], None],
        on_map: Callable[[], None],
        on_trouble: Callable[[], None],
        is_member: bool,
    ) -> None:
        self.control = control
        self.answered_at = 0.0
        self._machine = machine
        self._intervals = intervals
        self._heartbeat = intervals.heartbeat
        self._clock = clock
        self._on_member = on_member
        self._is_member = self._was_member = is_member
        self._said: Machine | None = None
        self._hurry = asyncio.Event()
        self._place = asyncio.Lock()  # nobody registers while we leave
        self._left = asyncio.Event()
        self._contact = ServerContact(
            control.http.dialer.server, clock, self._has_tunnels, on_trouble, self._retry_at_once
        )
        self.follower = Follower(
            control, known, self._contact, intervals.sync, clock, on_map=on_map, register=self._register_again
        )

    @property
    def has_left(self) -> bool:
        """Whether this machine gave up its place."""
        return self._left.is_set()

    @property
    def contact(self) -> Contact:
        """How it stands with the server."""
        return self._contact.state

    def _has_tunnels(self) -> bool:
        return self._was_member or self.follower.known.current_at is not None

    def announce(self) -> None:
        """This machine may have changed: tell the server, and do not wait until a retry is due."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    def network_changed(self, addresses: Collection[Address]) -> None:
        """This machine's network is another: these addresses it has now. What is open may be dead."""
        self.announce()
        self.follower.network_changed(addresses)

    def _retry_at_once(self) -> None:
        self.announce()
        self.follower.server_answers()

    async def run(self) -> None:
        """Be a member, until `leave`. Raises `ServerRefused` or `ServerKeyChanged` if the server never took us in."""
        await self._persist(_REGISTER, self._register)
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(self._beat()), group.create_task(self.follower.run())]
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
            machine, since = self._machine(), self.follower.known.since
            answer = await self.control.register(
                api.RegisterRequest(
                    hostname=machine.hostname,
                    os=machine.os,
                    endpoints=machine.endpoints,
                    mapped=machine.mapped,
                    distances=machine.distances,
                    exit_node=machine.exit_node,
                    version=machine.version,
                    since=since,
                )
            )
        self._said = machine
        self._heartbeat = min(self._intervals.heartbeat, max(SHORTEST_HEARTBEAT, answer.heartbeat_seconds))
        if not self._is_member:
            log.info("joined the mesh peer_id=%s", answer.peer_id)
        self._is_member = True
        self._on_member(answer.me)
        if answer.map is not None:
            self.follower.take(since, answer.map)

    async def _register_again(self, what: str, error: NotRegistered, times: int) -> None:
        """The server has answered, `times` in a row now, that it does not know this machine."""
        if await self._has_left():
            return
        self._contact.is_unknown(what, error, times)
        await self._pause(RETRY.delay(times, random.random()))
        await self._persist(_REGISTER, self._register)

    async def _beat(self) -> NoReturn:
        """Say that we live, each time that it is due or that there is something new to say."""
        pace = Pace(*_BEATS)
        while True:
            if self._machine() == self._said:
                await self._pause(self._heartbeat)
            await asyncio.sleep(pace.wait(self._clock().monotonic))
            await self._persist(_HEARTBEAT, self._say)

    async def _say(self) -> None:
        machine, said = self._machine(), self._said
        if said is None or (machine.hostname, machine.os) != (said.hostname, said.os):
            await self._register()
            return
        # All of it each time: the server may have lost what it was told (held back, or restored from a backup).
        answer = await self.control.heartbeat(
            api.HeartbeatRequest(
                endpoints=machine.endpoints,
                mapped=machine.mapped,
                distances=machine.distances,
                exit_node=machine.exit_node,
            )
        )
        self._said = machine
        self.answered_at = self._clock().wall
        self.follower.head_is(answer.head)

    async def _persist(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        """Call until it succeeds. Raises before we are a member what repeating does not help."""
        failures = forgotten = 0
        while True:
            try:
                await call()
            except NotRegistered as error:
                if await self._has_left():
                    return
                failures, forgotten = failures + 1, forgotten + 1
                await self._register_again(what, error, forgotten)
            except MeshError as error:
                if not self._is_member and isinstance(error, (ServerRefused, ServerKeyChanged)):
                    raise
                failures += 1
                self._contact.failed(what, error)
                await self._pause(RETRY.delay(failures, random.random()))
            except Exception as error:
                if not self._has_tunnels():
                    raise
                failures += 1
                self.follower.known.doubt()
                self._contact.stumbled(what, error)
                await self._pause(RETRY.delay(failures, random.random()))
            else:
                self._contact.succeeded(what)
                return

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until `announce`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

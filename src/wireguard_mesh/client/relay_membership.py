"""A relay's place in the map: registers it, says that it lives and what it sees, takes it out of the map at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import NotRegistered, ServerKeyChanged, ServerRefused
from wireguard_mesh.client.follower import Follower
from wireguard_mesh.client.relay_control import RelayControl
from wireguard_mesh.client.server_contact import ServerContact
from wireguard_mesh.core.feed import RETRY
from wireguard_mesh.core.pace import Pace
from wireguard_mesh.core.roster import KnownRoster
from wireguard_mesh.core.sightings import Sightings
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.protocol import api, relay_api

SYNC: Final = 15.0  # seconds between two questions for the map, where it does not come by stream
SHORTEST_HEARTBEAT: Final = 1.0  # seconds, whatever the server asks for
LAST_WORD: Final = 2.0  # seconds that the end may be kept waiting for the server
# Heartbeats at once, and then a second: what is seen is told at once, but a flood of it makes no flood of requests.
_BEATS: Final = (10, 2.0)
_REGISTER, _HEARTBEAT = "register", "heartbeat"

log = logging.getLogger(__name__)


class RelayMembership:
    """Speaks to the server for a relay, and keeps `known` what the server has.

    `registration` is asked for what to register at a time of the server, `counters` for how the relay does. `on_member`
    gets the relay as the map has it, `on_map` is called when `known` may have changed. `is_member`: the server took it
    in before, so a refusal now may pass and is no reason to end.
    """

    def __init__(
        self,
        control: RelayControl,
        known: KnownRoster,
        sightings: Sightings,
        clock: Clock,
        *,
        registration: Callable[[int], relay_api.RelayRegistration],
        counters: Callable[[], api.RelayCounters],
        on_member: Callable[[Relay], None],
        on_map: Callable[[], None],
        is_member: bool,
    ) -> None:
        self._control = control
        self._known = known
        self._sightings = sightings
        self._clock = clock
        self._registration = registration
        self._counters = counters
        self._on_member = on_member
        self._is_member = is_member
        self._heartbeat = relay_api.HEARTBEAT_SECONDS
        self._hurry = asyncio.Event()
        self._place = asyncio.Lock()  # nobody registers while we leave
        self._has_left = False
        self._contact = ServerContact(
            control.http.dialer.server, clock, lambda: known.map is not None, lambda: None, self._retry_at_once
        )
        self._follower = Follower(
            control, known, self._contact, SYNC, clock, on_map=on_map, register=self._register_again
        )

    def hurry(self) -> None:
        """There is something to tell: do not wait until the next heartbeat is due."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    async def run(self) -> NoReturn:
        """Be a relay of the mesh, until it is cancelled. Raises `ServerRefused` or `ServerKeyChanged` if the server
        never took it in."""
        await self._persist(_REGISTER, self._register)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run())
            await self._beat()

    async def leave(self) -> None:
        """Leave the map, if the server hears it; one that does not notices before long."""
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(LAST_WORD), self._place:
                self._has_left = True
                await self._control.leave()

    def _retry_at_once(self) -> None:
        self.hurry()
        self._follower.server_answers()

    async def _register(self) -> None:
        await self._control.pin()
        info = await self._control.server_info()  # for its time: a proof is good for a minute, by its clock
        async with self._place:
            if self._has_left:
                return
            answer = await self._control.register_relay(self._registration(int(info.time)))
        self._heartbeat = max(SHORTEST_HEARTBEAT, answer.heartbeat_seconds)
        self._sightings.repeat()
        if not self._is_member:
            log.info("this relay is in the map relay=%s", answer.relay.id)
        self._is_member = True
        self._on_member(answer.relay)

    async def _register_again(self, what: str, error: NotRegistered, times: int) -> None:
        """The server has answered, `times` in a row now, that it does not know this relay."""
        if self._has_left:
            return
        self._contact.is_unknown(what, error, times)
        await self._pause(RETRY.delay(times, random.random()))
        await self._persist(_REGISTER, self._register)

    async def _beat(self) -> NoReturn:
        """Say that we live, each time that it is due or that there is something new to say."""
        pace = Pace(*_BEATS)
        while True:
            if not self._sightings.has_news:
                await self._pause(self._heartbeat)
            await asyncio.sleep(pace.wait(self._clock().monotonic))
            await self._persist(_HEARTBEAT, self._say)

    async def _say(self) -> None:
        observations = self._sightings.next()
        roster = self._known.map
        answer = await self._control.relay_heartbeat(
            relay_api.RelayHeartbeat(
                observations=observations, counters=self._counters(), map=roster.version if roster else None
            )
        )
        self._sightings.told(observations)
        self._follower.head_is(MapVersion(answer.epoch, answer.revision))

    async def _persist(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        """Call until it succeeds. Raises before we are a member what repeating does not help."""
        failures = forgotten = 0
        while not self._has_left:
            try:
                await call()
            except NotRegistered as error:
                forgotten += 1
                await self._register_again(what, error, forgotten)
            except MeshError as error:
                if not self._is_member and isinstance(error, (ServerRefused, ServerKeyChanged)):
                    raise
                self._contact.failed(what, error)
            except Exception as error:
                if self._known.map is None:
                    raise
                self._contact.stumbled(what, error)
            else:
                self._contact.succeeded(what)
                return
            failures += 1
            await self._pause(RETRY.delay(failures, random.random()))

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until `hurry`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

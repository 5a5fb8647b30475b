"""The agent's dealings with relays: pings them, carries datagrams over TCP where UDP is blocked, and sees to it that
engine and server hear of what that brings. What is to be done is `core.relay_choice`'s to say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.relay_pinger import RelayPinger
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.wanted import FWMARK
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.relays import RelayDistance

if TYPE_CHECKING:
    from wireguard_mesh.client.carrier import Carrier

MAX_ASLEEP: Final = 1.0  # seconds until it is asked again whether a carrier is wanted
LEAST_ASLEEP: Final = 0.05  # seconds, while the device has not done yet what it is to do at once

log = logging.getLogger(__name__)


class Relaying:
    """`on_path_news` is called when the engine may decide otherwise, `on_distances` when there is something to tell the
    server."""

    def __init__(
        self,
        engine: Engine,
        control: Control,
        clock: Clock,
        *,
        on_path_news: Callable[[], None],
        on_distances: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._control = control
        self._clock = clock
        self._on_path_news = on_path_news
        self._on_distances = on_distances
        self._carrier: Carrier | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._is_said = False  # that UDP is blocked
        self._reached: tuple[Address, ...] = ()
        self._state: object = None  # what the engine decided by, as far as it is known here
        self._fault = ""
        self._news = asyncio.Event()
        self.pinger = RelayPinger(
            engine.relays,
            engine.settings.private_key,
            clock,
            offset=lambda: control.clock_offset,
            on_news=self.wake,
            mark=FWMARK,
        )
        self.distances: tuple[RelayDistance, ...] = ()
        """How far the relays are, as the server is to be told."""

    def wake(self) -> None:
        """Something is known that was not."""
        self._news.set()

    def network_changed(self) -> None:
        """This machine's network is another: relays are asked anew, and a connection that is open may be dead."""
        if self._carrier is not None:
            self._carrier.network_changed()
        self.pinger.wake()
        self.wake()

    async def run(self) -> NoReturn:
        """Do so, for ever."""
        pinging = asyncio.create_task(self.pinger.run())
        try:
            while True:
                self._news.clear()
                wait = self._do_safely()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._news.wait()
        finally:
            self._end_carrier()
            pinging.cancel()
            await asyncio.wait([pinging, *self._ending])

    def _do_safely(self) -> float:
        """Seconds until it is to be done again."""
        try:
            return self._do_what_is_due()
        except Exception as error:
            # A fault of ours: tunnels stand, and the next map may well be another.
            if repr(error) != self._fault:
                log.exception("relays cannot be followed by a fault of this program, will try again")
            self._fault = repr(error)
            return MAX_ASLEEP

    def _do_what_is_due(self) -> float:
        now = self._clock()
        relays = self._engine.relays
        reached = self._control.http.dialer.remembered
        if reached != self._reached:
            self._reached = reached
            self._engine.server_reached(reached)
        self._carry_or_not(now)
        state = (relays.ways(now), self._reached, relays.next_at(now) <= now.monotonic)
        if state != self._state:
            self._state = state
            self._on_path_news()
        distances = relays.distances(now)
        if distances != self.distances:
            self.distances = distances
            self._on_distances()
        return max(LEAST_ASLEEP, min(MAX_ASLEEP, relays.next_at(now) - now.monotonic))

    def _carry_or_not(self, now: Instant) -> None:
        """Begin to carry, or end it."""
        port = self._engine.own_port()
        carrier, is_wanted = self._carrier, bool(port) and self._engine.relays.wants_carrier(now)
        if carrier is not None and not (is_wanted and carrier.port == port):
            self._end_carrier()
        self._say(is_wanted=is_wanted, is_blocked=self._engine.relays.is_udp_blocked(now))
        if is_wanted and self._carrier is None:
            # Only here, for few agents need one.
            from wireguard_mesh.client.carrier import Carrier

            self._carrier = Carrier(self._control, port, self._carried)
            self._carrying = asyncio.create_task(self._carrier.run())

    def _say(self, *, is_wanted: bool, is_blocked: bool) -> None:
        if is_blocked and not self._is_said:
            self._is_said = True
            log.info("UDP does not get through here, so packets go to the server over TCP")
        elif self._is_said and not is_wanted:
            self._is_said = False
            log.info("UDP gets through again")

    def _end_carrier(self) -> None:
        self._carrier = None
        if self._carrying is not None:
            self._carrying.cancel()
            self._ending.add(self._carrying)
            self._carrying.add_done_callback(self._ending.discard)
            self._carrying = None

    def _carried(self, local: Endpoint | None, seconds: float | None) -> None:
        """What is sent there reaches the relay, or nothing does any more."""
        now = self._clock()
        relays = self._engine.relays
        if local is not None:
            relays.carried(relays.carried_relay, local, now, seconds=seconds)
        else:
            relays.carried(None, None, now)
        self.wake()

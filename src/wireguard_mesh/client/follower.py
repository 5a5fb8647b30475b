"""Follows the map: on the server's stream, or by questions where streams do not get through. `core.feed` decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control, NotRegistered
from wireguard_mesh.client.dial import Unreachable
from wireguard_mesh.client.map_stream import Heard, listen
from wireguard_mesh.client.server_contact import ServerContact
from wireguard_mesh.core.contact import Contact
from wireguard_mesh.core.feed import NEVER, End, Feed
from wireguard_mesh.core.known_map import Known
from wireguard_mesh.core.pace import Pace
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import InvalidValue, MeshError, Unavailable
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import MapUpdate
from wireguard_mesh.protocol.status import MapSource

# Calls at once, and then a second: whatever the server or the network does, it makes no busy loop of us.
_CALLS: Final = (10, 1.0)
_MAP: Final = "map"

log = logging.getLogger(__name__)


class Unusable(Unavailable):
    """The map that the server sent is none that this machine takes."""


class Follower:
    """Keeps `known` what the server has. `on_map` is called when it took something, `register` when the server does not
    know this machine: with the name of the call, the error, and how many times in a row."""

    def __init__(
        self,
        control: Control,
        known: Known[Any],
        contact: ServerContact,
        interval: float,
        clock: Clock,
        *,
        on_map: Callable[[], None],
        register: Callable[[str, NotRegistered, int], Awaitable[None]],
    ) -> None:
        self.known = known
        self._control = control
        self._contact = contact
        self._clock = clock
        self._on_map = on_map
        self._register = register
        self._feed = Feed(clock().monotonic, interval)
        self._way = Contact()  # whether streams get through
        self._end_reason = ""
        self._changed = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._from: Address | None = None
        self._forgotten = 0
        self._is_dropped = False

    @property
    def source(self) -> MapSource:
        """Where changes come from now. Questions that nobody answers bring none."""
        is_polling = self._feed.source is MapSource.POLLING
        return self._feed.source if not is_polling or (self.problem and self._contact.state.works) else MapSource.NONE

    @property
    def problem(self) -> str:
        """Why changes do not come by stream, or ""."""
        return self._way.problem

    async def run(self) -> None:
        """Follow, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream_on())
            group.create_task(self._ask_on())

    # What happens elsewhere

    def take(self, since: MapVersion | None, *updates: MapUpdate) -> None:
        """The server's answer to one who had `since`. Raises `Unusable`; the whole map is then asked for."""
        for update in updates:
            try:
                self.known.take(update, since, self._clock())
            except InvalidValue as error:
                server = self._control.http.dialer.server
                raise Unusable(f"the map that {server} sent cannot be used ({error.message})") from None
            since = update.version
            if log.isEnabledFor(logging.DEBUG):
                reflexive = sum(bool(peer.reflexive) for peer in update.upsert)
                details = update.kind, since, len(update.upsert), reflexive
                log.debug("stage=update kind=%s version=%s peers=%d reflexive=%d", *details)
        self._on_map()

    def head_is(self, version: MapVersion) -> None:
        """A heartbeat's answer named the server's newest map."""
        now = self._clock()
        if self.known.head_is(version, now):
            self._feed.news(now.monotonic)
            self._wake()
            if self._has_step:
                self._be_patient()

    def server_answers(self) -> None:
        """Another call succeeded: the server is there."""
        self._feed.server_answers(self._clock().monotonic, random.random())
        self._wake()

    def network_changed(self, addresses: Collection[Address]) -> None:
        """This machine has these addresses now. A stream that goes out from another one is dead, and does not know; one
        that is not there yet is begun anew."""
        is_alive = self._from is not None and (self._from.is_loopback or self._from in addresses)
        if self._limit is not None and not (is_alive and self._has_step):
            self._is_dropped = True
            self._give(0.0)
        self._feed.network_changed(self._clock().monotonic)
        self._wake()

    # The stream

    async def _stream_on(self) -> None:
        pace = Pace(*_CALLS)
        while True:
            await self._until(lambda: self._feed.stream_at)
            await asyncio.sleep(pace.wait(self._clock().monotonic))
            end = await self._stream_once()
            if end is not None:
                self._feed.stream_ended(end, self._clock().monotonic, random.random())
            if self._is_dropped:
                self._feed.network_changed(self._clock().monotonic)
            self._is_dropped = False
            self._wake()

    async def _stream_once(self) -> End | None:
        """What came of one stream; None: it is to be tried again at once."""
        try:
            await self._listen()
            reason = "the server ended it"
        except TimeoutError:
            if self._is_dropped:
                return End.WORKED  # for all that is known
            reason = "nothing came any more" if self._has_step else "nothing came"
        except NotRegistered as error:
            self._forgotten += 1
            await self._register(_MAP, error, self._forgotten)
            if self._forgotten == 1:
                return None
            reason = "the server has just taken this machine in, and its stream does not know it"
        except (Unreachable, Unusable) as error:
            self._contact.failed(_MAP, error)
            return End.FAILED
        except MeshError as error:
            reason = str(error)
        except Exception as error:
            self.known.doubt()
            self._contact.stumbled(_MAP, error)
            return End.FAILED
        log.debug("the stream of the map is over reason=%s", reason)
        self._end_reason = reason
        return End.WORKED if self._has_step else End.BLOCKED

    @property
    def _has_step(self) -> bool:
        """Whether the stream that is open has brought a step."""
        return self._feed.source is MapSource.STREAM

    async def _listen(self) -> None:
        """One stream, until its end. Raises `MeshError`, and `TimeoutError` if it is silent for too long."""
        since = self.known.since
        try:
            async with asyncio.timeout(None) as self._limit, self._control.stream(since) as stream:
                self._from = stream.source
                self._be_patient()
                async with contextlib.aclosing(listen(stream)) as portions:
                    async for heard in portions:
                        self._hear(heard, since)
                        since = heard.version or since
        finally:
            self._limit = self._from = None

    def _hear(self, heard: Heard, since: MapVersion | None) -> None:
        """Something came on the stream, which was at `since` before."""
        if heard.spread is not None:
            self._feed.spread_over(heard.spread)
        if heard.updates:
            self.take(since, *heard.updates)
            if not self._has_step:
                self._stream_works()
        if self._has_step and heard.is_complete:
            self.known.confirm(self._clock())
        if self._has_step or heard.events:
            self._be_patient()

    def _stream_works(self) -> None:
        now = self._clock()
        self._feed.stream_works(now.monotonic)
        self._wake()
        self._map_came()
        if self._way.succeeded(now):
            log.info("changes come by stream again")

    def _map_came(self) -> None:
        self._forgotten = 0
        self._contact.succeeded(_MAP)

    def _be_patient(self) -> None:
        now, behind = self._clock().monotonic, self.known.behind_since
        self._give(self._feed.patience(now, behind.monotonic if behind else None))

    def _give(self, seconds: float) -> None:
        """The stream has so long for its next word."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)

    # Questions

    async def _ask_on(self) -> None:
        pace = Pace(*_CALLS)
        while True:
            await self._until(lambda: self._feed.poll_at)
            await asyncio.sleep(pace.wait(self._clock().monotonic))
            is_answered = await self._ask()
            self._feed.polled(is_answered, self._clock().monotonic, random.random())
            # Only now is it known that it is not the server that fails.
            if is_answered and self._feed.is_blocked:
                self._say_that_streams_are_held_back()
            self._wake()

    async def _ask(self) -> bool:
        try:
            since = self.known.since
            self.take(since, await self._control.map(since))
        except NotRegistered as error:
            self._forgotten += 1
            await self._register(_MAP, error, self._forgotten)
        except MeshError as error:
            self._contact.failed(_MAP, error)
        except Exception as error:
            self.known.doubt()
            self._contact.stumbled(_MAP, error)
        else:
            self._map_came()
            return True
        return False

    def _say_that_streams_are_held_back(self) -> None:
        if self._way.failed(self._end_reason, self._clock(), _MAP):
            log.warning(
                "changes do not come by stream, so they are asked for now and then; "
                "something between here and the server holds streams back reason=%s",
                self._end_reason,
            )

    # Waiting

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, due: Callable[[], float]) -> None:
        while (wait := due() - self._clock().monotonic) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == NEVER else wait):
                    await self._changed.wait()

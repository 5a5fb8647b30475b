"""Carries the datagrams of WireGuard's own socket to a relay over a WebSocket, where UDP does not get through.

WireGuard is told a UDP port on this machine's loopback as the address of the relay. That socket is connected to
WireGuard's port, so the kernel takes nothing of anybody else's; what it takes goes out in one message each turn of the
loop. What cannot go out soon is dropped, as a router would: TCP inside the tunnel slows down by that, and by a queue
that grows it would only become late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, NoReturn

from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Unreachable
from wireguard_mesh.client.local_udp import LOOPBACK, RECEIVE_BUFFER, LocalUdp
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError, Unavailable
from wireguard_mesh.protocol.carrying import MAX_MESSAGE, TARGET, pack, unpack

if TYPE_CHECKING:
    from wireguard_mesh.client.web_socket import WebSocket

MAX_BATCH: Final = 128 * 1024  # bytes of datagrams that are sent in one message; half of what the other end takes
PING_AFTER: Final = 15.0  # seconds of silence; proxies and NATs keep a connection for at least 60
DEAD_AFTER: Final = 10.0  # seconds without an answer to that
RETRY: Final = Backoff(first=0.5, longest=30.0)
STEADY: Final = 30.0  # seconds; a connection that lasted so long ended by something new

log = logging.getLogger(__name__)


class Carrier:
    """For the socket of WireGuard at `port`. `on_change` gets the address where datagrams for the relay are taken, and
    the seconds of the round trip, when a connection stands; `None` when it ends."""

    def __init__(self, control: Control, port: int, on_change: Callable[[Endpoint | None, float | None], None]) -> None:
        self.port = port
        self._control = control
        self._on_change = on_change
        self._hurry = asyncio.Event()
        self._connection: asyncio.Task[None] | None = None
        self._local: LocalUdp | None = None
        self._waiting: asyncio.Task[None] | None = None  # for the other end to read what was sent
        self._problem = ""

    def network_changed(self) -> None:
        """What is open may be dead: begin anew, at once."""
        self._hurry.set()
        if self._connection is not None:
            self._connection.cancel()

    async def run(self) -> NoReturn:
        """Carry, until it is cancelled. Faults are said once and tried again."""
        failures = 0
        try:
            while True:
                self._hurry.clear()
                began = time.monotonic()
                await self._carry_once()
                failures += 1
                if time.monotonic() - began > STEADY:
                    failures, self._problem = 1, ""
                self._note_end()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY.delay(failures, random.random())):
                        await self._hurry.wait()
        finally:
            if self._local is not None:
                self._local.close()

    async def _carry_once(self) -> None:
        """One connection, until its end, which is said."""
        connection = self._connection = asyncio.create_task(self._carry())
        try:
            await asyncio.wait([connection])
        finally:
            connection.cancel()
            await asyncio.wait([connection])  # it uses the socket until its end

    def _note_end(self) -> None:
        ended = self._connection
        assert ended is not None
        error = None if ended.cancelled() else ended.exception()
        problem = str(error)
        if error is None or problem == self._problem:
            return
        self._problem = problem
        if isinstance(error, Unreachable):
            log.debug("packets cannot be carried over TCP: %s", problem)  # whoever follows the map says it too
        elif isinstance(error, MeshError):
            log.warning("packets cannot be carried over TCP, trying again: %s", problem)
        else:
            log.error("packets cannot be carried over TCP by a fault of this program, trying again", exc_info=error)

    async def _carry(self) -> None:
        """One connection. Raises why it ended."""
        # Only here, for it takes 4 MB that few agents need.
        from wireguard_mesh.client.web_socket import KEY_BYTES, open_web_socket

        # The port is kept through all connections, so that WireGuard need not be told of each.
        local = self._local = self._local or LocalUdp(self.port)
        asked_at = time.monotonic()
        async with open_web_socket(self._control, TARGET, os.urandom(KEY_BYTES), MAX_MESSAGE) as web_socket:
            loop = asyncio.get_running_loop()
            local.receive(RECEIVE_BUFFER)  # it has waited for a connection for too long
            loop.add_reader(local, self._send, local, web_socket)
            self._on_change(Endpoint(IPv4Address(LOOPBACK), local.port), time.monotonic() - asked_at)
            try:
                await _receive(local, web_socket)
            finally:
                if self._waiting is not None:
                    self._waiting.cancel()
                loop.remove_reader(local)
                self._on_change(None, None)

    def _send(self, local: LocalUdp, web_socket: WebSocket) -> None:
        """WireGuard sent something."""
        datagrams = local.receive(MAX_BATCH)
        if datagrams:
            web_socket.send(pack(datagrams))
        if web_socket.is_full:
            # What comes meanwhile waits in the socket's buffer, and is dropped by the kernel when that is full.
            loop = asyncio.get_running_loop()
            loop.remove_reader(local)
            self._waiting = loop.create_task(self._wait(local, web_socket))

    async def _wait(self, local: LocalUdp, web_socket: WebSocket) -> None:
        await web_socket.drained()
        asyncio.get_running_loop().add_reader(local, self._send, local, web_socket)


async def _receive(local: LocalUdp, web_socket: WebSocket) -> NoReturn:
    """Give WireGuard what comes. Raises `Unavailable` at the end."""
    is_asked = False
    while True:
        try:
            async with asyncio.timeout(DEAD_AFTER if is_asked else PING_AFTER):
                messages = await web_socket.receive()
        except TimeoutError:
            if is_asked:
                raise Unavailable("the other end does not answer any more") from None
            web_socket.ping()
            is_asked = True
            continue
        is_asked = False
        for message in messages:
            try:
                local.send(unpack(message))
            except InvalidValue as error:
                raise Unavailable(f"what the other end sends cannot be understood ({error.message})") from None

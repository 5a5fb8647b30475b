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
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, NoReturn

from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Unreachable, reason
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError, Unavailable
from wireguard_mesh.protocol.carrying import MAX_DATAGRAM, MAX_MESSAGE, TARGET, pack, unpack

if TYPE_CHECKING:
    from wireguard_mesh.client.web_socket import WebSocket

LOOPBACK: Final = "127.0.0.1"
MAX_BATCH: Final = 128 * 1024  # bytes of datagrams that are sent in one message; half of what the other end takes
MAX_BACKLOG: Final = 128 * 1024  # bytes that wait to be sent; while there are more, datagrams are dropped
BUFFER: Final = 2 * 1024 * 1024  # bytes of the UDP socket's buffers: what comes while the loop does something else
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
        self.dropped = 0
        self._control = control
        self._on_change = on_change
        self._hurry = asyncio.Event()
        self._connection: asyncio.Task[None] | None = None
        self._local: socket.socket | None = None
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
        local = self._local = self._local or _open_local(self.port)
        asked_at = time.monotonic()
        async with open_web_socket(self._control, TARGET, os.urandom(KEY_BYTES), MAX_MESSAGE) as web_socket:
            address, port = local.getsockname()
            loop = asyncio.get_running_loop()
            loop.add_reader(local, self._send, local, web_socket)
            self._on_change(Endpoint(IPv4Address(address), port), time.monotonic() - asked_at)
            try:
                await _receive(local, web_socket)
            finally:
                loop.remove_reader(local)
                self._on_change(None, None)

    def _send(self, local: socket.socket, web_socket: WebSocket) -> None:
        """WireGuard sent something."""
        datagrams: list[bytes] = []
        size = 0
        while size < MAX_BATCH:
            try:
                datagram = local.recv(MAX_DATAGRAM)
            except OSError:  # nothing more, or the port at the other end was closed for a moment
                break
            datagrams.append(datagram)
            size += len(datagram)
        if web_socket.backlog > MAX_BACKLOG:
            self.dropped += len(datagrams)
        elif datagrams:
            web_socket.send(pack(datagrams))


async def _receive(local: socket.socket, web_socket: WebSocket) -> NoReturn:
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
            _deliver(local, message)


def _deliver(local: socket.socket, message: bytes) -> None:
    try:
        datagrams = unpack(message)
    except InvalidValue as error:
        raise Unavailable(f"what the other end sends cannot be understood ({error.message})") from None
    for datagram in datagrams:
        # What WireGuard's socket does not take now is dropped; so is what comes while that socket is not there.
        with contextlib.suppress(OSError):
            local.send(datagram)


def _open_local(port: int) -> socket.socket:
    """A UDP socket that speaks with WireGuard's and nobody else. Raises `Unavailable`."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            made.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        made.bind((LOOPBACK, 0))
        made.connect((LOOPBACK, port))
    except OSError as error:
        made.close()
        raise Unavailable(f"no UDP socket on {LOOPBACK} can be opened ({reason(error)})") from None
    return made

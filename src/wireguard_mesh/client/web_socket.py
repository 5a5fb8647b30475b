"""The agent's end of a WebSocket (RFC 6455): bytes in and out by asyncio's streams, frames by `websockets`.

Imported only where a carrier is needed, for that library takes 4 MB.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final

from websockets.exceptions import WebSocketException
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import reason
from wireguard_mesh.model.errors import Unavailable

KEY_BYTES: Final = 16  # RFC 6455 section 4.1
READ: Final = 256 * 1024  # bytes
MAX_BACKLOG: Final = 64 * 1024  # bytes that wait to be sent, besides those in the kernel
# Bytes that wait in the kernel before it takes no more from us. What waits there is late already: at 10 Mbit/s this is
# 50 ms. Linux; the number is from linux/tcp.h, for Python names it from 3.12 on only.
UNSENT: Final = 64 * 1024
_TCP_NOTSENT_LOWAT: Final = 25
GIVE_UP: Final = 10_000  # milliseconds that what was sent may remain unacknowledged
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class WebSocket:
    """One that is open. Everything but `receive` returns at once."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, max_message: int
    ) -> None:
        """`data`: what was read of it already. `max_message`: bytes of a message that is taken."""
        self._reader = reader
        self._writer = writer
        self._protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=max_message)
        self._protocol.debug = False  # every frame is a datagram
        self._unread = data
        self._message = bytearray()
        writer.transport.set_write_buffer_limits(high=MAX_BACKLOG)
        _tune(writer.get_extra_info("socket"))

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be sent that nothing should be added."""
        return self._writer.transport.get_write_buffer_size() > MAX_BACKLOG

    async def drained(self) -> None:
        """Wait until it is not full any more, or broken."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def send(self, message: bytes) -> None:
        """Send a binary message. One that is not open any more sends nothing."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._flush()

    def ping(self) -> None:
        """Ask whether the other end is there; whatever it says ends the wait of `receive`."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self) -> None:
        """Say that it ends. The connection is its owner's."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()

    def _flush(self) -> None:
        if self._writer.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:  # else the other end said that it ends; so does our owner
                self._writer.write(data)

    async def receive(self) -> list[bytes]:
        """What comes next: all whole messages of a read together, none if it was something else. May be cancelled.
        Raises `Unavailable` at its end."""
        try:
            data = self._unread or await self._reader.read(READ)
        except OSError as error:
            raise Unavailable(f"the connection broke ({reason(error)})") from None
        self._unread = b""
        if not data:
            raise Unavailable("the connection was closed")
        self._protocol.receive_data(data)
        self._flush()
        messages = list(self._whole_messages())
        if self._protocol.state is not State.OPEN:
            raise Unavailable(f"the other end ended it{self._why()}")
        return messages

    def _whole_messages(self) -> Iterator[bytes]:
        for event in self._protocol.events_received():
            assert isinstance(event, Frame), "the handshake is over"
            if event.opcode in {Opcode.BINARY, Opcode.TEXT, Opcode.CONT}:
                if event.fin and not self._message:
                    yield bytes(event.data)
                    continue
                self._message += event.data
                if event.fin:
                    yield bytes(self._message)
                    self._message.clear()

    def _why(self) -> str:
        error = self._protocol.parser_exc
        if isinstance(error, WebSocketException):
            return f" since it cannot be understood ({error})"
        said = self._protocol.close_rcvd
        return f" with code {said.code}" if said is not None else ""


@contextlib.asynccontextmanager
async def open_web_socket(control: Control, target: str, random: bytes, max_message: int) -> AsyncIterator[WebSocket]:
    """A WebSocket to the server, signed. `random`: `KEY_BYTES` bytes. Raises `MeshError`."""
    key = base64.b64encode(random).decode()
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": key,
        "sec-websocket-version": "13",
    }
    async with control.upgrade(target, headers) as stream:
        proof = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
        if not hmac.compare_digest(stream.headers.get("sec-websocket-accept", "").encode(), proof.encode()):
            raise Unavailable("the server, or something in between, speaks no WebSocket as it should")
        opened = WebSocket(*stream.switched(), max_message)
        try:
            yield opened
        finally:
            opened.close()


def _tune(connection: socket.socket) -> None:
    """Let the kernel keep little, and give up a connection that is dead. Where it cannot, it works all the same."""
    with contextlib.suppress(OSError, AttributeError):
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP)

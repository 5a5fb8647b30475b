"""WebSockets that carry datagrams, for peers whose UDP is blocked: to the relay each is one more source.

The server has verified who opened it. What goes there waits in a queue that is bounded in bytes, the oldest making room
for the newest, as on any link that is slower than what is sent to it; what waits leaves together, in one message a turn
of the event loop. What comes is taken in small portions, so that whoever sends many tiny frames or datagrams at once
does not hold up the packets of others.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from wireguard_mesh.core.sources import WebSource
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol import carrying

log = logging.getLogger(__name__)
_frames_log = logging.getLogger(f"{__name__}.frames")
_frames_log.setLevel(logging.WARNING)  # the library says each end of a connection, and there are many

MAX_QUEUE: Final = 256 * 1024  # bytes that wait for a slow reader: 0.1 s of 20 Mbit/s
MESSAGE_BYTES: Final = 64 * 1024  # that are put into one message
WRITE_BUFFER: Final = 64 * 1024  # bytes in the event loop, besides those of the kernel
MAX_UNREAD: Final = 4 * WRITE_BUFFER  # so much is there only for one who asks for pongs and does not read them
PORTION: Final = 4096  # bytes of WebSocket frames that are looked at together
PORTIONS_A_TURN: Final = 64
THINGS_A_TURN: Final = 256  # frames and datagrams, 2 ms; then it is the turn of others on the event loop
PING_SECONDS: Final = 20.0  # below what proxies and NATs allow for silence
SILENCE_SECONDS: Final = 60.0  # without a word from the other end, which answers pings
_LENGTH_SIZE: Final = 2
_CONTROL: Final = (Opcode.PING, Opcode.PONG, Opcode.CLOSE)

Arrived = Callable[[WebSource, bytes], None]


class Carrier(asyncio.Protocol):
    """One connection. `arrived` gets each datagram; `ended` is called once."""

    def __init__(self, source: WebSource, early: bytes, arrived: Arrived, ended: Callable[[WebSource], None]) -> None:
        self.source = source
        self.dropped = 0
        self._early = early
        self._arrived, self._ended = arrived, ended
        self._websocket = Protocol(Side.SERVER, state=State.OPEN, max_size=carrying.MAX_MESSAGE, logger=_frames_log)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._unread = memoryview(b"")
        self._message = bytearray()  # as much as came of it
        self._came: deque[bytes] = deque()
        self._is_working = False
        self._is_paused = False
        self._is_due = False
        self._heard = self._pinged = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has it."""
        # uvloop's are asyncio's by name only.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        if self._early:
            self.data_received(self._early)
            self._early = b""

    def data_received(self, data: bytes) -> None:
        """Bytes of the other end."""
        self._heard = self._loop.time()
        # More than one portion is here only before reading is paused, which takes effect after this call.
        self._unread = memoryview(bytes(self._unread) + data) if self._unread else memoryview(data)
        if not self._is_working:
            self._work()

    def eof_received(self) -> None:
        """The other end says no more."""
        self._websocket.receive_eof()
        self._flush_protocol()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's own word
        """It is gone."""
        self._transport = None
        self._waiting.clear()
        self._came.clear()
        self._unread = memoryview(b"")
        self._ended(self.source)

    def pause_writing(self) -> None:
        """The other end reads too slowly."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_paused = False
        self._flush()

    def send(self, datagram: bytes) -> None:
        """Let it go with the next message; what waits for longest gives way."""
        if self._transport is None:
            return
        self._waiting.append(datagram)
        self._waiting_bytes += len(datagram)
        while self._waiting_bytes > MAX_QUEUE:
            self._waiting_bytes -= len(self._waiting.popleft())
            self.dropped += 1
        if not self._is_due and not self._is_paused:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def tick(self) -> None:
        """To be called each second or so: pings, and ends it if nobody is there."""
        now = self._loop.time()
        if self._transport is None:
            return
        if now - self._heard > SILENCE_SECONDS:
            self._transport.abort()
        elif now - self._pinged > PING_SECONDS and self._websocket.state is State.OPEN and not self._is_paused:
            self._pinged = now
            self._websocket.send_ping(b"")
            self._flush_protocol()

    def close(self) -> None:
        """End it in order."""
        if self._transport is None:
            return
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(CloseCode.GOING_AWAY)
            self._flush_protocol()
        if self._transport is not None:
            self._transport.close()

    def _work(self) -> None:
        """Take as much of what came as is fair to others, and the rest in the next turn of the event loop."""
        left, portions = THINGS_A_TURN, PORTIONS_A_TURN
        while left > 0 and (self._came or (self._unread and portions > 0)):
            if self._came:
                self._arrived(self.source, self._came.popleft())
                left -= 1
            else:
                left -= self._read_portion()
                portions -= 1
        if self._transport is None:
            return
        is_more = bool(self._came or self._unread)
        if is_more:
            self._loop.call_soon(self._work)
        if is_more is not self._is_working and not self._transport.is_closing():
            (self._transport.pause_reading if is_more else self._transport.resume_reading)()
        self._is_working = is_more

    def _read_portion(self) -> int:
        """Returns how many frames it had."""
        portion, self._unread = self._unread[:PORTION], self._unread[PORTION:]
        self._websocket.receive_data(bytes(portion))
        events = self._websocket.events_received()
        for event in events:
            assert isinstance(event, Frame)  # there is no handshake any more
            self._take(event)
        self._flush_protocol()
        return len(events)

    def _take(self, frame: Frame) -> None:
        if frame.opcode in _CONTROL:
            return  # answered already
        if frame.opcode is Opcode.TEXT:
            self._refuse(CloseCode.UNSUPPORTED_DATA)
            return
        self._message += frame.data  # whatever is in between may have cut a message
        if not frame.fin:
            return
        message, self._message = bytes(self._message), bytearray()
        try:
            self._came.extend(carrying.unpack(message))
        except InvalidValue:
            self._refuse(CloseCode.INVALID_DATA)

    def _refuse(self, code: CloseCode) -> None:
        if self._websocket.state is State.OPEN:
            self._websocket.fail(code)

    def _flush(self) -> None:
        self._is_due = False
        while self._waiting and not self._is_paused and self._transport is not None:
            if self._websocket.state is not State.OPEN:
                self._waiting.clear()
                break
            self._websocket.send_binary(carrying.pack(self._next_datagrams()))
            self._flush_protocol()
        if not self._waiting:
            self._waiting_bytes = 0

    def _next_datagrams(self) -> list[bytes]:
        datagrams: list[bytes] = []
        size = 0
        while self._waiting and (not datagrams or size + len(self._waiting[0]) + _LENGTH_SIZE <= MESSAGE_BYTES):
            datagram = self._waiting.popleft()
            self._waiting_bytes -= len(datagram)
            size += len(datagram) + _LENGTH_SIZE
            datagrams.append(datagram)
        return datagrams

    def _flush_protocol(self) -> None:
        for data in self._websocket.data_to_send():
            if self._transport is None:
                return
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MAX_UNREAD:
            self._transport.abort()
        elif self._websocket.close_expected():
            self._transport.close()


class Carriers:
    """All of a relay, by their numbers; at most one of a peer counts, its newest."""

    def __init__(self, most: int, arrived: Arrived, ended: Callable[[WebSource], None]) -> None:
        self._most = most
        self._arrived, self._told = arrived, ended
        self._carriers: dict[WebSource, Carrier] = {}
        self._newest: dict[PublicKey, Carrier] = {}
        self._adopting: set[asyncio.Task[None]] = set()
        self._number = 0
        self._dropped_before = 0

    def __len__(self) -> int:
        return len(self._carriers)

    @property
    def dropped(self) -> int:
        """Packets that slow readers did not get."""
        return self._dropped_before + sum(carrier.dropped for carrier in self._carriers.values())

    def adopt(self, sock: socket.socket, key: PublicKey, data: bytes) -> None:
        """Take over a connection whose upgrade was answered; `key` signed it, `data` was read behind it."""
        if len(self._carriers) >= self._most:
            sock.close()
            return
        self._number += 1
        carrier = Carrier(WebSource(self._number, key), data, self._arrived, self._ended)
        before = self._newest.get(key)
        self._carriers[carrier.source] = self._newest[key] = carrier
        if before is not None:
            before.close()
        task = asyncio.get_running_loop().create_task(self._start(carrier, sock))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def send(self, destination: WebSource, datagram: bytes) -> None:
        """Send there, if it still is."""
        carrier = self._carriers.get(destination)
        if carrier is not None:
            carrier.send(datagram)

    def tick(self) -> None:
        """To be called each second or so."""
        for carrier in list(self._carriers.values()):
            carrier.tick()

    def close(self) -> None:
        """End all of them."""
        for carrier in list(self._carriers.values()):
            carrier.close()

    async def _start(self, carrier: Carrier, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: carrier, sock)
        except OSError as error:
            sock.close()
            log.debug("a WebSocket ended before it began: %s", error.strerror)
            self._ended(carrier.source)

    def _ended(self, source: WebSource) -> None:
        carrier = self._carriers.pop(source, None)
        if carrier is None:
            return
        self._dropped_before += carrier.dropped
        if self._newest.get(source.public_key) is carrier:
            del self._newest[source.public_key]
        self._told(source)

"""A client's stream of the map: connects, reads, and when it breaks comes back as the agent does.

The agent's own core says when (`core.feed`). It would also ask for the map by plain requests while streams bring
nothing; these clients do not, but whoever gave up a stream is counted among the faults.
"""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from typing import Final, cast

from bench.load.delays import Watch
from bench.load.maps import NOTHING, Edge, MapState
from bench.load.members import Member
from bench.load.wire import HEAD_END, MAX_HEAD, BadAnswer, Head, split_chunk
from wireguard_mesh.core.feed import End, Feed
from wireguard_mesh.model.errors import InvalidValue

CONNECT_TIMEOUT: Final = 5.0  # seconds, the agent's
POLL_SECONDS: Final = 60.0
_GZIP_HEADER: Final = b"\x1f\x8b\x08"
_GZIP_HEADER_SIZE: Final = 10  # RFC 1952, without options
_HEADERS: Final = "accept: text/event-stream\r\naccept-encoding: gzip\r\n"


class Traffic:
    """What all streams together see. Times in monotonic seconds, an entry for each event."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self.ports = ports
        self.watch = Watch()
        self.connected = array("d")  # TCP connections that stood
        self.current = array("d")  # first `current`s of a stream
        self.broken = array("d")
        self.refused: dict[int, int] = {}  # answers by status
        self.faults: list[str] = []  # what no server should send
        self.finished = 0  # streams that ended because their peer left

    def clear(self) -> None:
        """Begin to count anew."""
        del self.connected[:], self.current[:], self.broken[:]
        self.refused.clear()


class Stream(asyncio.Protocol):
    """One client's. `received`: bytes on all its connections so far. `is_current`: it had a `current` on this one."""

    __slots__ = (
        "_body",
        "_feed",
        "_first",
        "_head",
        "_heard",
        "_opened",
        "_opening",
        "_port",
        "_rest",
        "_signed_for",
        "_traffic",
        "_transport",
        "is_current",
        "member",
        "received",
        "state",
    )

    def __init__(self, member: Member, traffic: Traffic, port: int = 0) -> None:
        """`port`: which of the servers' ports to try first, by its number in the list."""
        self.member = member
        self.state: MapState = NOTHING
        self.received = 0
        self.is_current = False
        self._traffic = traffic
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._head: Head | None = None
        self._body = False
        self._first = True  # the next chunk is the first one
        self._rest = b""
        self._heard = self._opened = 0.0
        self._feed = Feed(time.monotonic(), POLL_SECONDS)
        self._signed_for = ""
        self._opening: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Connect, and return when the first step is complete, however many attempts it takes."""
        self._opening = asyncio.get_running_loop().create_future()
        self.connect()
        await self._opening

    def connect(self) -> None:
        """Begin an attempt."""
        asyncio.get_running_loop().create_task(self._connect())

    def close(self) -> None:
        """End it, and do not come back."""
        self.member.has_left = True
        self._end()

    def check(self, now: float) -> None:
        """To be called each second: an agent does not wait forever."""
        if self._transport is None:
            return
        since = self._heard if self.is_current else self._opened
        if now - since > self._feed.patience(now, None):
            self._fault("it was silent" if self.is_current else "no `current` in time")

    async def _connect(self) -> None:
        ports = self._traffic.ports
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.get_running_loop().create_connection(
                    lambda: self, "127.0.0.1", ports[self._port % len(ports)]
                )
        except OSError:
            self._port += 1
            self._come_back(End.FAILED)

    def _come_back(self, end: End) -> None:
        if self.member.has_left:
            return
        now = time.monotonic()
        self._feed.stream_ended(end, now, random.random())
        asyncio.get_running_loop().call_later(max(0.0, self._feed.stream_at - now), self.connect)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not derive from asyncio's
        self.state = self.state.complete
        self.is_current = False
        self._opened = self._heard = time.monotonic()
        self._traffic.connected.append(self._opened)
        self._ask()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self.member.has_left:
            self._traffic.finished += 1
            return
        self._traffic.broken.append(time.monotonic())
        self._come_back(End.WORKED if self.is_current else End.BLOCKED)
        self.is_current = False

    def _ask(self) -> None:
        assert self._transport is not None
        self._head, self._body, self._first, self._rest = None, False, True, b""
        self._signed_for = self.member.instance
        version = self.state.version
        resume = f"last-event-id: {version}\r\n" if version is not None else ""
        self._transport.write(self.member.request("GET", "/v1/map/stream", headers=_HEADERS + resume))

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self._heard = now = time.monotonic()
        if self._body and not self._rest:
            edge = self.state.edges.get(data)
            if edge is not None:
                self._go(edge, now)
                return
        try:
            self._read(self._rest + data, now)
        except (BadAnswer, InvalidValue) as error:
            self._fault(str(error))

    def _read(self, data: bytes, now: float) -> None:
        if not self._body:
            rest = self._read_head(data)
            if rest is None:
                return
            data = rest
        start = 0
        while start < len(data):
            chunk = split_chunk(data, start)
            if chunk is None:
                break
            begin, end, following = chunk
            if begin == end:
                self._end()  # the last chunk: the server stops, or the peer has left
                return
            self._take(data[start:following], data[begin:end], now)
            start = following
        self._rest = data[start:]

    def _take(self, chunk: bytes, payload: bytes, now: float) -> None:
        if self._first:
            self._first = False
            if len(payload) < _GZIP_HEADER_SIZE or not payload.startswith(_GZIP_HEADER):
                raise BadAnswer("the stream does not begin with a gzip header")
            chunk = payload = payload[_GZIP_HEADER_SIZE:]
            if not payload:
                return
        edge = self.state.edges.get(chunk) or self.state.follow(chunk, payload, self._traffic.watch)
        self._go(edge, now)

    def _go(self, edge: Edge, now: float) -> None:
        if edge.target is not None:
            self.state = edge.target
        if edge.arrivals is not None:
            edge.arrivals.note(now)
        if edge.is_step and not self.is_current:
            self._reached(now)
        if edge.retry is not None:
            self._feed.spread_over(edge.retry)

    def _reached(self, now: float) -> None:
        self.is_current = True
        self._feed.stream_works(now)
        self._traffic.current.append(now)
        if self._opening is not None and not self._opening.done():
            self._opening.set_result(None)
        self._opening = None

    def _read_head(self, data: bytes) -> bytes | None:
        """What comes after the head of a stream; None if there is none yet."""
        if self._head is None:
            lines, separator, data = data.partition(HEAD_END)
            if not separator:
                if len(lines) > MAX_HEAD:
                    raise BadAnswer("a head without an end")
                self._rest = lines
                return None
            self._head = Head(lines)
        head = self._head
        if head.is_ok:
            if head.header("transfer-encoding") != "chunked" or head.header("content-encoding") != "gzip":
                raise BadAnswer("the stream is not sent in chunks with gzip")
            self._body = True
            return data
        if len(data) < head.length:
            self._rest = data
            return None
        self._refused(head)
        return None

    def _refused(self, head: Head) -> None:
        refused = self._traffic.refused
        refused[head.status] = refused.get(head.status, 0) + 1
        is_restarted = self.member.is_to_sign_again(head, self._signed_for)
        if is_restarted and not head.closes:
            self._ask()
            return
        self._end()

    def _fault(self, what: str) -> None:
        self._traffic.faults.append(f"{self.member.hostname}: {what}")
        self._end()

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.abort()

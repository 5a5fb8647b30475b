"""HTTP connections, with limits on what a stranger can hold open and have held in memory."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Hashable
from email.utils import formatdate
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from wireguard_mesh.core.ratelimit import source_of
from wireguard_mesh.server.errors import MAX_BODY, error_body

MAX_HEAD: Final = 16 * 1024  # request line and headers
MAX_REQUEST: Final = MAX_HEAD + 2 * MAX_BODY  # as it travels: chunks and trailers have a cost of their own
MAX_PIPELINED: Final = 8  # requests that wait for the answers to those before them
MAX_UNSENT: Final = 256 * 1024 * 1024  # bytes of answers that nobody reads, of all connections together
HEAD_SECONDS: Final = 10.0
BODY_LIMIT_SECONDS: Final = 20.0  # if nobody reads it; above `gate.BODY_SECONDS`, so that a slow one is answered
WRITE_SECONDS: Final = 60.0  # a map of 10,000 peers at half a megabit a second
KEEP_ALIVE_SECONDS: Final = 75.0  # more than the longest pause between two requests of an agent
MAX_CONNECTIONS: Final = 24_000  # two for each of 10,000 agents, and a fifth more for everybody else


class Shared(ServerState):
    """What all connections share. Dates each answer when it is made, so that no timer must."""

    _second = 0
    _headers: list[tuple[bytes, bytes]]

    def __init__(self, per_source: int) -> None:
        super().__init__()
        self.unsent: dict[GuardedProtocol, None] = {}  # those that do not read, the one that began first first
        self._per_source = per_source
        self._sources: Counter[Hashable] = Counter()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every answer has."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        pass  # uvicorn's own, made at its ticks

    def count(self, source: Hashable) -> bool:
        """One more connection of a source; False if it has too many. Each is to be discounted once."""
        self._sources[source] += 1
        return not self._per_source or self._sources[source] <= self._per_source

    def discount(self, source: Hashable) -> None:
        """One less."""
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]

    def hold_unsent(self, protocol: GuardedProtocol) -> None:
        """One more that does not read. If that makes too much, those that have not for longest are shut."""
        self.unsent[protocol] = None
        sizes = [(other, other.transport.get_write_buffer_size()) for other in self.unsent]
        excess = sum(size for _, size in sizes) - MAX_UNSENT
        for other, size in sizes:
            if excess <= 0:
                break
            other.transport.abort()
            excess -= size


def source_limited(client: tuple[str, int] | None) -> Hashable | None:
    """By what the connections of a client are counted. None: not at all, it is of this machine, mostly a proxy."""
    if client is None:
        return None
    source = source_of(ip_address(client[0].partition("%")[0]))
    is_local = source == IPv6Network("::/64") or (isinstance(source, IPv4Address) and source.is_loopback)
    return None if is_local else source


class _Phase(Enum):
    # How much of a request there is.
    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class GuardedProtocol(HttpToolsProtocol):
    """A connection whose requests are of bounded size and come, and whose answers are read, within bounded time.

    One clock runs whenever the other side is to send something; no byte starts it anew, only progress does. Another
    one runs while it does not read.
    """

    _phase = _Phase.NOTHING
    _received = 0  # bytes of the request
    _sending: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _source: Hashable | None = None
    server_state: Shared

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """One more; over the limits it is shut at once."""
        super().connection_made(transport)
        self.gone: set[Callable[[], None]] = set()
        self._source = source_limited(self.client)
        is_within = self._source is None or self.server_state.count(self._source)
        if not is_within or len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._expect_within(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """One less; who holds an answer back for it need not any more."""
        self._stop_clock()
        self.resume_writing()
        if self._source is not None:
            self.server_state.discount(self._source)
        super().connection_lost(exc)
        for end_wait in tuple(self.gone):
            end_wait()

    def data_received(self, data: bytes) -> None:
        """Bytes came, of which as many are looked at as a request may have."""
        while data and not self.transport.is_closing():
            limit = MAX_REQUEST if self._phase is _Phase.BODY else MAX_HEAD
            room = limit - self._received
            if room <= 0:
                self._refuse_length()
                return
            piece, data = data[:room], data[room:]
            self._received += len(piece)
            super().data_received(piece)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")  # which the parser makes a bad request of
        self._phase = _Phase.HEAD
        self._expect_within(HEAD_SECONDS)
        super().on_message_begin()
        self.scope["state"]["gone"] = self.gone

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers mean nothing here, and are not kept."""
        if self._phase is _Phase.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._phase = _Phase.BODY
        self._expect_within(BODY_LIMIT_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there too: what follows is another head."""
        super().on_message_complete()
        self._phase = _Phase.NOTHING
        self._received = 0
        self._stop_clock()
        if self.cycle.response_complete:
            self._expect_within(KEEP_ALIVE_SECONDS)

    def on_response_complete(self) -> None:
        """The answer is written, though perhaps not sent."""
        is_last = not self.pipeline
        super().on_response_complete()
        self._unset_keepalive_if_required()  # any byte would stop that clock
        if self.transport.is_closing():
            self._expect_within(WRITE_SECONDS)
        elif is_last and self._phase is _Phase.NOTHING:
            self._expect_within(KEEP_ALIVE_SECONDS)

    def pause_writing(self) -> None:
        """The other side does not read as fast as it is answered."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(WRITE_SECONDS, self.transport.abort)
            self.server_state.hold_unsent(self)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
            self.server_state.unsent.pop(self, None)

    def shutdown(self) -> None:
        """The server stops: a request that is not even whole yet is not awaited."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_complete:
            self.transport.close()
        else:
            super().shutdown()

    def send_400_response(self, _msg: str) -> None:
        """What is no HTTP is answered as everything else is."""
        self._refuse(b"400 Bad Request", error_body("bad_request", "this is no valid HTTP request"))

    def _expect_within(self, seconds: float) -> None:
        self._stop_clock()
        # Not `close`, which waits for what was written to be read.
        self._sending = self.loop.call_later(seconds, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _refuse_length(self) -> None:
        if self._phase is not _Phase.BODY:
            self._refuse(b"431 Request Header Fields Too Large", error_body("too_large", "the headers are too long"))
        elif self.cycle.response_started:
            self.transport.abort()
        else:
            self._refuse(b"413 Content Too Large", error_body("too_large", "the request is too long"))

    def _refuse(self, status: bytes, body: bytes) -> None:
        headers = [*self.server_state.default_headers, (b"content-type", b"application/json")]
        headers += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self._expect_within(WRITE_SECONDS)
        self.transport.close()

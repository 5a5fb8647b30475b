"""HTTP connections, with limits on what a stranger can hold open and have held in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from enum import Enum, auto
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.server.errors import MAX_BODY, error_body
from wireguard_mesh.server.one_way import OneWayProtocol
from wireguard_mesh.server.shared import Shared, source_limited

MAX_HEAD: Final = 16 * 1024  # request line and headers
MAX_REQUEST: Final = MAX_HEAD + 2 * MAX_BODY  # as it travels: chunks and trailers have a cost of their own
MAX_PIPELINED: Final = 8  # requests that wait for the answers to those before them
HEAD_SECONDS: Final = 10.0
BODY_LIMIT_SECONDS: Final = 20.0  # if nobody reads it; above `gate.BODY_SECONDS`, so that a slow one is answered
WRITE_SECONDS: Final = 60.0  # a map of 10,000 peers at half a megabit a second
KEEP_ALIVE_SECONDS: Final = 75.0  # more than the longest pause between two requests of an agent
_CONNECTION: Final = "connection"  # where a request has the connection that it came by, in its state


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
        self._source = source_limited(self.client)
        is_within = self._source is None or self.server_state.count(self._source)
        if not is_within or not self.server_state.has_room():
            transport.abort()
            return
        self._expect_within(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """One less."""
        self._stop_clock()
        self._stop_waiting_for_reader()
        if self._source is not None:
            self.server_state.discount(self._source)
        self.server_state.idle.pop(self.transport, None)
        super().connection_lost(exc)
        self._forget_request()

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
        self.server_state.idle.pop(self.transport, None)
        super().on_message_begin()
        self.scope["state"][_CONNECTION] = self

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
            self._await_next_request()

    def on_response_complete(self) -> None:
        """The answer is written, though perhaps not sent."""
        is_last = not self.pipeline
        super().on_response_complete()
        self._unset_keepalive_if_required()  # any byte would stop that clock
        if self.transport.is_closing():
            self._expect_within(WRITE_SECONDS)
        elif is_last and self._phase is _Phase.NOTHING:
            self._await_next_request()

    def pause_writing(self) -> None:
        """The other side does not read as fast as it is answered."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(WRITE_SECONDS, self.transport.abort)
            self.server_state.hold_unsent(self)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._stop_waiting_for_reader()

    def hand_over(self, heir: OneWayProtocol) -> bool:
        """Give the connection away, to be called while its last request is answered; False if it is gone already.

        Whatever the application still answers is dropped. As uvicorn does it for a WebSocket. Raises `InvalidValue` if
        the other side sent more than the request, and `Unavailable` if the server stops.
        """
        if self.server_state.stopping:
            raise Unavailable("the server is stopping", "try again")
        if self.pipeline or self._phase is not _Phase.NOTHING:
            raise InvalidValue("nothing may follow a request whose answer has no end", "use a connection for it alone")
        if self.transport.is_closing():
            return False
        self._stop_clock()
        self.flow.resume_reading()
        is_paused = self._reading is not None
        self._stop_waiting_for_reader()
        self.connections.discard(self)
        self.cycle.disconnected = True
        source, self._source = self._source, None
        heir.take_over(self.transport, self.server_state, source, is_paused=is_paused)
        self.parser = None  # type: ignore[assignment]  # as uvicorn does at the end: the two hold each other
        self._forget_request()
        return True

    def shutdown(self) -> None:
        """The server stops: a request that is not even whole yet is not awaited."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_complete:
            self.transport.close()
        else:
            super().shutdown()

    def _unsupported_upgrade_warning(self) -> None:
        """Whether a connection becomes something else, the application decides; anybody may ask for it."""

    def send_400_response(self, _msg: str) -> None:
        """What is no HTTP is answered as everything else is."""
        self._refuse(b"400 Bad Request", error_body("bad_request", "this is no valid HTTP request"))

    def _expect_within(self, seconds: float) -> None:
        self._stop_clock()
        # Not `close`, which waits for what was written to be read.
        self._sending = self.loop.call_later(seconds, self.transport.abort)

    def _await_next_request(self) -> None:
        self._expect_within(KEEP_ALIVE_SECONDS)
        self.server_state.idle[self.transport] = None
        self._forget_request()

    def _forget_request(self) -> None:
        # Thousands of connections wait for their next request, and some kB are not to be kept for each.
        self.cycle = self.scope = self.headers = None  # type: ignore[assignment]  # as before the first request

    def _stop_waiting_for_reader(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
            self.server_state.drop_unsent(self)

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


def connection_of(scope: Mapping[str, Any]) -> GuardedProtocol:
    """The connection that a request came by. Raises `Unavailable` if by none: there is no network in between."""
    connection = scope["state"].get(_CONNECTION)
    if not isinstance(connection, GuardedProtocol):
        raise Unavailable("only a connection can carry a stream", "ask over the network")
    return connection

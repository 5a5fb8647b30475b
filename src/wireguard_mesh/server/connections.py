"""uvicorn, with limits on what a stranger can hold open, and without its wakeups ten times a second."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from wireguard_mesh.server.errors import error_body

MAX_HEAD: Final = 16 * 1024  # request line and headers
HEAD_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 75  # more than the longest pause between two requests of an agent
MAX_CONNECTIONS: Final = 12_000
GRACE_SECONDS: Final = 3
_BACKLOG: Final = 2048


class _State(ServerState):
    """Dates each answer when it is made, so that no timer must."""

    _second = 0
    _headers: list[tuple[bytes, bytes]]

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


class GuardedProtocol(HttpToolsProtocol):
    """A connection whose requests must have a head of bounded size, within bounded time."""

    _deadline: asyncio.TimerHandle | None = None
    _head_length = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """One more; over the limit it is shut at once."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """One less."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came; those of heads are counted."""
        if self._in_head:
            self._head_length += len(data)
        super().data_received(data)
        if self._in_head and self._head_length > MAX_HEAD and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", error_body("too_large", "the headers are too long"))

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there; the body's time is watched by who reads it."""
        self._stop_clock()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there too: what follows is another head."""
        super().on_message_complete()
        self._in_head = True
        self._head_length = 0

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

    def _await_head(self) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: bytes, body: bytes) -> None:
        headers = [*self.server_state.default_headers, (b"content-type", b"application/json")]
        headers += [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()


class HttpServer(uvicorn.Server):
    """Serves an application on given sockets until told to stop; signals are the caller's."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.server_state = _State()
        self._stop = asyncio.Event()

    async def serve_on(self, sockets: list[socket.socket]) -> None:
        """Serve until `stop`; then answer what is under way, for `GRACE_SECONDS` at most."""
        await self.serve(sockets)

    def stop(self) -> None:
        """Stop accepting, and let `serve_on` return soon."""
        self._stop.set()

    async def main_loop(self) -> None:
        """In place of uvicorn's, which looks ten times a second."""
        await self._stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """In place of uvicorn's, which ends the process by the signal again."""
        yield

"""A small HTTP/1.1 client for one server: h11 reads and writes the messages, connections are kept and used again.

Everything that the other side decides is bounded: time, the size of heads and of bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import h11

from wireguard_mesh.client.dial import Dialer, reason
from wireguard_mesh.model.errors import Unavailable

MAX_HEAD: Final = 16 * 1024  # bytes of status line and headers
MAX_INTERIM: Final = 8  # answers of kind 1xx (RFC 9110 section 15.2) before the one that counts
MAX_IDLE: Final = 2  # connections kept: one for the map, one for everything else
_READ: Final = 64 * 1024
_CLOSED: Final = "closed before it answered"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Stale(Exception):
    """A kept connection was closed by the other side before it answered anything."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._used = False

    @property
    def is_open(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(self, head: h11.Request, body: bytes, limit: int) -> Response:
        out = self._http.send(head) or b""
        if body:
            out += self._http.send(h11.Data(data=body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        try:
            self._writer.write(out)
            await self._writer.drain()
            answer = await self._next_event()
        except (OSError, h11.RemoteProtocolError) as error:
            if self._used and self._http.their_state is h11.SEND_RESPONSE:
                raise _Stale from error
            raise
        for _ in range(MAX_INTERIM):
            if not isinstance(answer, h11.InformationalResponse):
                break
            answer = await self._next_event()
        if isinstance(answer, h11.InformationalResponse):
            raise h11.RemoteProtocolError(f"more than {MAX_INTERIM} interim answers")
        if not isinstance(answer, h11.Response):
            raise h11.RemoteProtocolError("the connection was closed before an answer")
        self._used = True
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        return Response(answer.status_code, headers, await self._body(limit))

    async def _body(self, limit: int) -> bytes:
        body = bytearray()
        while type(event := await self._next_event()) is not h11.EndOfMessage:
            if not isinstance(event, h11.Data):
                raise h11.RemoteProtocolError("the connection was closed within an answer")
            body += event.data
            if len(body) > limit:
                raise h11.RemoteProtocolError(f"the answer is longer than {limit} bytes")
        return bytes(body)

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(_READ)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError(_CLOSED)
            self._http.receive_data(data)
        return event

    def finish(self) -> bool:
        """Make it ready for the next exchange; False if it cannot have one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def close(self) -> None:
        self._writer.close()


class HttpClient:
    """Requests to one server. Safe to use from several tasks at once."""

    def __init__(self, dialer: Dialer) -> None:
        self.dialer = dialer
        self._idle: list[_Connection] = []

    async def request(
        self,
        method: str,
        target: str,
        headers: Callable[[], Mapping[str, str]],
        body: bytes = b"",
        *,
        seconds: float,
        limit: int,
    ) -> Response:
        """One exchange. `target` is path and query, below the server's prefix; `limit` is for the bytes of the body.

        `headers` is called for each attempt, since a signed request must not be sent twice. Raises `Unavailable`.
        """
        server = self.dialer.server
        try:
            async with asyncio.timeout(seconds):
                while True:
                    connection = await self._connection()
                    try:
                        return await self._exchange(connection, method, target, headers(), body, limit)
                    except _Stale:
                        continue
        except TimeoutError:
            raise Unavailable(f"the server {server} did not answer within {seconds:.0f} s") from None
        except h11.ProtocolError as error:
            raise Unavailable(f"the server {server} does not speak HTTP as it should ({error})") from None
        except OSError as error:
            raise Unavailable(f"the connection to {server} broke ({reason(error)})") from None

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        return _Connection(*await self.dialer.connect())

    async def _exchange(
        self, connection: _Connection, method: str, target: str, headers: Mapping[str, str], body: bytes, limit: int
    ) -> Response:
        head = h11.Request(
            method=method,
            target=f"{self.dialer.server.prefix}{target}",
            headers=[
                ("host", self.dialer.server.authority),
                ("content-length", str(len(body))),
                *headers.items(),
            ],
        )
        is_kept = False
        try:
            answer = await connection.exchange(head, body, limit)
            is_kept = connection.finish() and len(self._idle) < MAX_IDLE
        finally:
            if is_kept:
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def drop_connections(self) -> None:
        """Close what is kept: after a change of the network a connection may be dead and not know it."""
        while self._idle:
            self._idle.pop().close()

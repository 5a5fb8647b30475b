"""A small HTTP/1.1 client for one server: connections are kept and used again, but for answers that go on and on.

Everything that the other side decides is bounded: time, the size of heads and of bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from typing import Final

import h11
import msgspec

from wireguard_mesh.client.connection import CLOSED, Connection, Stale
from wireguard_mesh.client.dial import Dialer, reason
from wireguard_mesh.client.inflate import Gunzip
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.model.servers import ServerAddress

MAX_IDLE: Final = 1  # connections kept, besides the stream's


class Response(msgspec.Struct, frozen=True):
    """An answer; names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream:
    """An answer that is read as it comes. Its connection serves nothing else."""

    def __init__(self, http: HttpClient, connection: Connection, target: str, seconds: float) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._http = http
        self._connection = connection
        self._server = http.dialer.server
        self._target = target
        self._seconds = seconds
        self._gunzip: Gunzip | None = None

    async def ask(self, headers: Mapping[str, str]) -> None:
        """Send the request, and read how the answer begins. Raises `Unavailable`."""
        with _in_plain_words(self._server, self._seconds):
            async with asyncio.timeout(self._seconds):
                head = await self._connection.ask(self._http.head("GET", self._target, headers, b""))
        self.status, self.headers = head.status, head.headers
        self._gunzip = Gunzip() if head.headers.get("content-encoding", "").lower() == "gzip" else None

    async def ask_again(self, headers: Mapping[str, str]) -> None:
        """The same, when the first answer is read whole: of the same server, if it lets us. One name may be that of
        several, and a new connection lead to another. Raises as `HttpClient.stream`."""
        if not (self._connection.finish() and self._connection.is_open):
            self.close()
            self._connection = Connection(*await self._http.dialer.connect())
        with _in_plain_words(self._server):
            try:
                await self.ask(headers)
            except Stale:
                raise ConnectionResetError(CLOSED) from None

    def close(self) -> None:
        """Let go of its connection."""
        self._connection.close()

    @property
    def source(self) -> Address | None:
        """This machine's address on its connection."""
        return self._connection.source

    def switched(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """After a status 101: see `Connection.switched`."""
        return self._connection.switched()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, unpacked, until its end. Raises `Unavailable`."""
        with _in_plain_words(self._server):
            while data := await self._connection.some():
                for piece in self._gunzip.feed(data) if self._gunzip else (data,):
                    yield piece
                    await asyncio.sleep(0)  # little may unfold to much: others have their turn between

    async def whole(self, limit: int) -> Response:
        """An answer that is no stream after all. `limit` is for the bytes of the body. Raises `Unavailable`."""
        body = bytearray()
        async with contextlib.aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > limit:
                    raise Unavailable(f"the answer of {self._server} is longer than {limit} bytes")
        return Response(self.status, self.headers, bytes(body))


class HttpClient:
    """Requests to one server. Safe to use from several tasks at once."""

    def __init__(self, dialer: Dialer) -> None:
        self.dialer = dialer
        self._idle: list[Connection] = []

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
        with _in_plain_words(self.dialer.server, seconds):
            async with asyncio.timeout(seconds):
                while True:
                    connection = await self._connection()
                    try:
                        return await self._exchange(connection, self.head(method, target, headers(), body), body, limit)
                    except Stale:
                        continue

    @contextlib.asynccontextmanager
    async def stream(self, target: str, headers: Mapping[str, str], *, seconds: float) -> AsyncIterator[Stream]:
        """Ask for an answer that goes on and on, and hold it; `seconds` is for its beginning, once connected.

        Raises `Unavailable`, and `dial.Unreachable` if there is no connection to the server at all.
        """
        stream = Stream(self, Connection(*await self.dialer.connect()), target, seconds)
        try:
            await stream.ask(headers)
            yield stream
        finally:
            stream.close()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        return Connection(*await self.dialer.connect())

    def head(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> h11.Request:
        """A request to this server as it begins."""
        server = self.dialer.server
        return h11.Request(
            method=method,
            target=f"{server.prefix}{target}",
            headers=[("host", server.authority), ("content-length", str(len(body))), *headers.items()],
        )

    async def _exchange(self, connection: Connection, head: h11.Request, body: bytes, limit: int) -> Response:
        is_kept = False
        try:
            begun = await connection.ask(head, body)
            answer = Response(begun.status, begun.headers, await connection.body(limit))
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


@contextlib.contextmanager
def _in_plain_words(server: ServerAddress, seconds: float = 0.0) -> Iterator[None]:
    """Whatever breaks is an `Unavailable`. `seconds`: the time that is over when there is a `TimeoutError`."""
    try:
        yield
    except TimeoutError:
        raise Unavailable(f"the server {server} did not answer within {seconds:.0f} s") from None
    except (h11.ProtocolError, InvalidValue) as error:
        raise Unavailable(f"the server {server} does not speak HTTP as it should ({error})") from None
    except OSError as error:
        raise Unavailable(f"the connection to {server} broke ({reason(error)})") from None

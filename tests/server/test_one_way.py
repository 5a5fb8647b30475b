"""A connection that was handed over is counted as before, and given back once; on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.server.serving import BIG, Message
from tests.waiting import until
from wireguard_mesh.server import connections
from wireguard_mesh.server.connections import connection_of
from wireguard_mesh.server.http_server import HttpServer
from wireguard_mesh.server.listening import ListenAddress, bind
from wireguard_mesh.server.one_way import OneWayProtocol

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


class Greeting(OneWayProtocol):
    """One that says something at once."""

    def begin(self) -> None:
        self.transport.write(b"patience" if self.is_paused else b"hello")


@asynccontextmanager
async def handing_over(
    per_source: int = 0, max_connections: int = 10, late: asyncio.Event | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    """`late` is set when a connection was gone before it could be handed over."""
    late = late or asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/big":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % BIG)]})
            await send({"type": "http.response.body", "body": bytes(BIG)})
            return
        if scope["path"] == "/late":
            await receive()  # which returns when the other side is gone
            assert not connection_of(scope).hand_over(Greeting())
            late.set()
            return
        heir = Greeting()
        assert connection_of(scope).hand_over(heir)
        heir.begin()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"what nobody sees"})

    sockets = bind(ListenAddress("127.0.0.1", 0))
    http = HttpServer(app, per_source, max_connections)
    done = asyncio.create_task(http.serve_on(sockets))
    yield http, sockets[0].getsockname()[1]
    http.stop()
    await done


async def taken(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def is_shut(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(10):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def until_gone(http: HttpServer) -> None:
    await until(lambda: not http.server_state.connections)


async def until_there(http: HttpServer) -> None:
    await until(lambda: http.server_state.tasks)


async def test_what_the_application_still_answers_is_dropped_and_the_end_is_an_end() -> None:
    async with handing_over() as (http, port):
        reader, writer = await taken(port)
        http.stop()
        assert await reader.read() == b""
        writer.close()
        await until_gone(http)


async def test_it_counts_among_the_connections_of_all_and_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "source_limited", lambda _client: "one")
    for per_source, max_connections in ((1, 10), (0, 1)):
        async with handing_over(per_source, max_connections) as (http, port):
            for _ in range(2):  # it is given back, once
                _, writer = await taken(port)
                other, another = await asyncio.open_connection("127.0.0.1", port)
                another.write(REQUEST)
                assert await is_shut(other)
                for each in (writer, another):
                    each.close()
                await until_gone(http)


async def test_what_is_still_unread_of_the_last_answer_comes_first() -> None:
    async with handing_over() as (http, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /big HTTP/1.1\r\n\r\n" + REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(BIG)
        assert await reader.readexactly(8) == b"patience"
        writer.close()
        await until_gone(http)


async def test_a_connection_that_is_gone_is_not_handed_over() -> None:
    late = asyncio.Event()
    async with handing_over(late=late) as (http, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /late HTTP/1.1\r\n\r\n")
        await until_there(http)
        writer.transport.abort()
        async with asyncio.timeout(10):
            await late.wait()
        await until_gone(http)


async def test_its_clocks_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "BODY_LIMIT_SECONDS", "KEEP_ALIVE_SECONDS"):
        monkeypatch.setattr(connections, name, 0.05)
    async with handing_over() as (http, port):
        _, writer = await taken(port)
        (held,) = http.server_state.connections
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await until_gone(http)
        assert list(http.server_state.connections) == [held]
        writer.close()


async def test_whatever_the_other_side_says_ends_it() -> None:
    async with handing_over() as (http, port):
        reader, writer = await taken(port)
        writer.write(b"x")
        assert await is_shut(reader)
        writer.close()
        await until_gone(http)

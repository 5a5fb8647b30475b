"""Limits on what a stranger can hold open, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from wireguard_mesh.server import connections
from wireguard_mesh.server.connections import HttpServer
from wireguard_mesh.server.listening import ListenAddress, bind

Message = dict[str, Any]


@dataclass
class Served:
    """A server of a tiny application, and its port."""

    http: HttpServer
    port: int
    held: asyncio.Event  # a request is held
    hold: asyncio.Event  # until this is set
    done: asyncio.Task[None]

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, data: bytes) -> bytes:
        """All that comes back until the server closes the connection."""
        reader, writer = await self.open()
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    held, hold = asyncio.Event(), asyncio.Event()

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Any]) -> None:
        await receive()
        if scope["path"] == "/held":
            held.set()
            await hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    sockets = bind(ListenAddress("127.0.0.1", 0))
    http = HttpServer(app)
    done = asyncio.create_task(http.serve_on(sockets))
    yield Served(http, sockets[0].getsockname()[1], held, hold, done)
    hold.set()
    http.stop()
    await done


def head_and_body(answer: bytes) -> tuple[bytes, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, json.loads(body)


async def test_every_answer_is_dated(served: Served) -> None:
    for _ in range(2):
        answer = await served.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        date = answer.split(b"date: ")[1].partition(b"\r\n")[0].decode()
        assert parsedate_to_datetime(date).tzinfo is not None


async def test_many_requests_share_a_connection_and_its_heads_are_counted_one_by_one(served: Served) -> None:
    reader, writer = await served.open()
    request = b"POST / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 9000 + b"\r\ncontent-length: 3\r\n\r\nabc"
    for _ in range(4):
        writer.write(request)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_an_error_of_ours(served: Served, data: bytes) -> None:
    head, body = head_and_body(await served.send(data))
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"date: " in head
    assert body["code"] == "bad_request"


async def test_headers_without_end_are_refused(served: Served) -> None:
    head, body = head_and_body(await served.send(b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000))
    assert head.startswith(b"HTTP/1.1 431")
    assert body["code"] == "too_large"


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_come_is_not_awaited(
    served: Served, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    assert await served.send(data) == b""


async def test_connections_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    reader, writer = await served.open()
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"ok")
    second, other = await served.open()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await second.readexactly(1)
    writer.close()
    other.close()


async def test_what_is_under_way_is_answered_before_the_end(served: Served) -> None:
    reader, writer = await served.open()
    writer.write(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
    await served.held.wait()
    served.http.stop()
    served.hold.set()
    assert (await reader.read()).endswith(b"ok")
    await served.done
    writer.close()

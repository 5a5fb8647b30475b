"""A verified upgrade becomes a WebSocket of the relay's process; nothing else does. On real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.core.samples import public_key
from tests.server.conftest import Server
from tests.server.streaming import Streaming, streaming
from tests.waiting import until
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.server.carriers import OPENED_BURST, accept_of

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = {
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
}


class FakeOwn:
    """A relay that keeps the connections that it is given."""

    id = OWN_RELAY

    def __init__(self, *, is_up: bool = True) -> None:
        self.is_up = is_up
        self.given: list[tuple[socket.socket, bytes, PublicKey]] = []

    def adopt(self, connection: socket.socket, data: bytes, key: PublicKey) -> bool:
        self.given.append((connection, data, key))
        return True

    def follow(self, _snapshot: object) -> None:
        pass


@asynccontextmanager
async def relaying(server: Server, *, is_up: bool = True) -> AsyncIterator[tuple[Streaming, FakeOwn]]:
    own = FakeOwn(is_up=is_up)
    standing: Any = own
    server.relays.own = standing
    async with streaming(server) as served:
        yield served, own
    for connection, _, _ in own.given:
        connection.close()


def request(server: Server, seed: int, **changes: str) -> bytes:
    fields = {"host": "x", **UPGRADE, **changes, **server.signature(seed, "GET", "/v1/relay")}
    lines = ["GET /v1/relay HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def opened(served: Streaming, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(data)
    async with asyncio.timeout(10):
        return reader, writer, await reader.readuntil(b"\r\n\r\n")


def test_the_answer_to_a_key_is_that_of_the_rfc() -> None:
    assert accept_of(UPGRADE) == ACCEPT


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"upgrade": "h2c"}, "over a WebSocket"),
        ({"connection": "close"}, "over a WebSocket"),
        ({"sec-websocket-version": "8"}, "version 13"),
        ({"sec-websocket-key": ""}, "no key"),
        ({"sec-websocket-key": "AAAA"}, "no key"),
        ({"sec-websocket-key": "é" * 24}, "no key"),
    ],
)
def test_what_is_no_opening_handshake_is_refused(changes: dict[str, str], what: str) -> None:
    with pytest.raises(InvalidValue, match=what):
        accept_of({**UPGRADE, **changes})


async def test_a_peer_s_connection_is_the_relay_s_from_then_on(server: Server) -> None:
    await server.join(1)
    async with relaying(server) as (served, own):
        reader, writer, head = await opened(served, request(server, 1))
        text = head.decode().lower()
        assert text.startswith("http/1.1 101 switching protocols\r\n")
        assert f"sec-websocket-accept: {ACCEPT.lower()}\r\n" in text
        assert f"mesh-relay: {OWN_RELAY}\r\n" in text
        await until(lambda: not served.http.server_state.connections)  # this process has it no more
        ((connection, data, key),) = own.given
        assert (data, key) == (b"", public_key(1))
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        writer.write(b"a frame")
        assert await loop.sock_recv(connection, 100) == b"a frame"
        await loop.sock_sendall(connection, b"another")
        assert await reader.readexactly(7) == b"another"
        writer.close()
        assert await loop.sock_recv(connection, 100) == b""


async def test_a_stranger_gets_no_carrier(server: Server) -> None:
    async with relaying(server) as (served, own):
        _, writer, head = await opened(served, request(server, 1))
        assert head.startswith(b"HTTP/1.1 404")
        writer.close()
        await server.join(2)
        _, writer, head = await opened(served, request(server, 2).replace(b"sha-256=:", b"sha-256=:A", 1))
        assert head.startswith(b"HTTP/1.1 401")
        writer.close()
        assert own.given == []


async def test_a_relay_that_is_down_is_said_to_be(server: Server) -> None:
    await server.join(1)
    async with relaying(server, is_up=False) as (served, _):
        _, writer, head = await opened(served, request(server, 1))
        assert head.startswith(b"HTTP/1.1 503")
        writer.close()
    server.relays.own = None
    answer = await server.http.get("/v1/relay", headers={**UPGRADE, **server.signature(1, "GET", "/v1/relay")})
    assert answer.status_code == 503


async def test_a_peer_opens_a_few_only(server: Server) -> None:
    await server.join(1)
    await server.join(2)
    async with relaying(server) as (served, own):
        for _ in range(OPENED_BURST):
            _, writer, head = await opened(served, request(server, 1))
            assert head.startswith(b"HTTP/1.1 101")
            writer.close()
        _, writer, head = await opened(served, request(server, 1))
        assert head.startswith(b"HTTP/1.1 429")
        writer.close()
        _, writer, head = await opened(served, request(server, 2))
        assert head.startswith(b"HTTP/1.1 101")
        writer.close()
        assert len(own.given) == OPENED_BURST + 1


async def test_a_plain_request_is_told_what_is_spoken_here(server: Server) -> None:
    await server.join(1)
    async with relaying(server) as (served, own):
        _, writer, head = await opened(served, request(server, 1, upgrade="h2c"))
        assert head.startswith(b"HTTP/1.1 400")
        writer.close()
        assert own.given == []

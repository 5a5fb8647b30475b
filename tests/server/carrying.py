"""Opening handshakes of WebSockets at the real application on a real socket, and a relay that is given them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.server.conftest import Server
from tests.server.streaming import Streaming, streaming
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import OWN_RELAY

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
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

"""A tiny application on a real socket, served as the real one is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from wireguard_mesh.server.http_server import HttpServer
from wireguard_mesh.server.listening import ListenAddress, bind

Message = dict[str, Any]
BIG = 32 * 1024 * 1024  # more than a kernel keeps for a loopback connection


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


@asynccontextmanager
async def serving(**limits: int) -> AsyncIterator[Served]:
    held, hold = asyncio.Event(), asyncio.Event()

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Any]) -> None:
        if scope["path"] == "/big":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % BIG)]})
            await send({"type": "http.response.body", "body": bytes(BIG)})
            return
        if scope["path"] != "/early":
            await receive()
        if scope["path"] == "/held":
            held.set()
            await hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    sockets = bind(ListenAddress("127.0.0.1", 0))
    http = HttpServer(app, **limits)
    done = asyncio.create_task(http.serve_on(sockets))
    yield Served(http, sockets[0].getsockname()[1], held, hold, done)
    hold.set()
    http.stop()
    await done

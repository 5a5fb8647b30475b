"""The real application on a real socket, and readers of its stream."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.core.samples import public_key
from tests.server.conftest import Server
from wireguard_mesh.core.following import MapReceiver
from wireguard_mesh.core.netmap import apply
from wireguard_mesh.model.peers import MapVersion, NetworkMap
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.events import EventParser
from wireguard_mesh.server.http_server import HttpServer
from wireguard_mesh.server.listening import ListenAddress, bind
from wireguard_mesh.server.streams import Hub

TARGET = "/v1/map/stream"
_DEADLINE = 10.0


@dataclass
class Reader:
    """One stream as its reader sees it. `updates`: the steps that were completed; `map`: what they make."""

    seed: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: dict[str, str]
    status: int
    text: bytes = b""
    updates: list[MapUpdate] = field(default_factory=list)
    map: NetworkMap | None = None
    is_ended: bool = False

    def __post_init__(self) -> None:
        self._parser = EventParser()
        self._receiver = MapReceiver()
        self._inflate = zlib.decompressobj(31) if self.head.get("content-encoding") == "gzip" else None

    async def read(self) -> bytes:
        """One more chunk of the body, decoded; empty at its end."""
        async with asyncio.timeout(_DEADLINE):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = (await self.reader.readexactly(size + 2))[:-2]
        if not data:
            self.is_ended = True
            return b""
        text = self._inflate.decompress(data) if self._inflate is not None else data
        self.text += text
        for event in self._parser.feed(text):
            update = self._receiver.take(event)
            if update is not None:
                self.updates.append(update)
                if self.map is not None or update.kind is UpdateKind.SNAPSHOT:
                    self.map = apply(self.map, update, public_key(self.seed))
        return text

    @property
    def retry(self) -> float | None:
        return self._parser.retry

    async def steps(self, count: int) -> list[MapUpdate]:
        """All steps so far, of which there are `count` at least."""
        while len(self.updates) < count:
            assert await self.read() or not self.is_ended, self.text
        return self.updates

    async def until(self, version: MapVersion) -> NetworkMap:
        """The map at this version, or a later one."""
        while self.map is None or self.map.revision < version.revision or self.map.epoch != version.epoch:
            await self.read()
            assert not self.is_ended, self.text
        return self.map

    async def rest(self) -> bytes:
        """All that comes until the server ends it, which must be soon."""
        while not self.is_ended:
            await self.read()
        async with asyncio.timeout(_DEADLINE):
            assert await self.reader.read() == b""
        return self.text

    async def is_cut(self) -> bool:
        """Whether the server ends the connection, without a proper end."""
        try:
            async with asyncio.timeout(_DEADLINE):
                while await self.reader.read(1 << 16):
                    pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.writer.close()


@dataclass
class Streaming:
    """A served mesh. `server` asks it in memory, `open` over the network."""

    server: Server
    http: HttpServer
    port: int
    buffer: int
    readers: list[Reader] = field(default_factory=list)

    @property
    def version(self) -> MapVersion:
        return MapVersion(self.server.mesh.snapshot.epoch, self.server.mesh.snapshot.revision)

    @property
    def hub(self) -> Hub:
        """Who keeps the streams."""
        hub = getattr(self.server.writer.on_publish[-1], "__self__", None)
        assert isinstance(hub, Hub)
        return hub

    def tick(self) -> None:
        """Let the hub look at the next part of its streams now."""
        assert self.hub._tick_timer is not None
        self.hub._tick_timer.cancel()
        self.hub._tick()

    async def ask(self, data: bytes, seed: int = 0) -> Reader:
        """Send `data` on a connection of its own, and read the head of the answer."""
        connection = socket.socket()
        if self.buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=self.buffer or 1 << 16)
        writer.write(data)
        async with asyncio.timeout(_DEADLINE):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.readers.append(Reader(seed, reader, writer, head, int(first.split()[1])))
        return self.readers[-1]

    def request(self, seed: int, query: str = "", version: str = "1.1", **headers: str) -> bytes:
        """A signed request for a stream."""
        target = TARGET + query
        fields = {"host": "x", **headers, **self.server.signature(seed, "GET", target)}
        lines = [
            f"GET {target} HTTP/{version}",
            *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def open(self, seed: int, query: str = "", **headers: str) -> Reader:
        """A stream for peer `seed`."""
        reader = await self.ask(self.request(seed, query, **headers), seed)
        assert reader.status == 200
        return reader


@asynccontextmanager
async def streaming(server: Server, buffer: int = 0) -> AsyncIterator[Streaming]:
    """Serve the application of `server` on loopback. `buffer`: bytes under way on a connection; 0 is as usual."""
    sockets = bind(ListenAddress("127.0.0.1", 0))
    for listener in sockets if buffer else []:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    http = HttpServer(server.app)
    done = asyncio.create_task(http.serve_on(sockets))
    served = Streaming(server, http, sockets[0].getsockname()[1], buffer)
    yield served
    for reader in served.readers:
        reader.close()
    http.stop()
    await done

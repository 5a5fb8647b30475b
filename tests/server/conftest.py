"""A server in memory: real application and database, a clock that tests turn, no network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.core.samples import private_key
from wireguard_mesh.core.liveness import Liveness
from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.relay_keys import RelayKey
from wireguard_mesh.protocol.signatures import Signer, make_nonce
from wireguard_mesh.server.app import make_app
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.relays import Relays
from wireguard_mesh.server.writer import Writer
from wireguard_mesh.store.store import Birth, Store

SERVER_KEY = private_key(1000)
START = 1_700_000_000.0
BURST = 20
RELAY_KEY = RelayKey(bytes(range(32)))


@dataclass
class Time:
    """Both clocks, turned by hand."""

    wall: float = START
    monotonic: float = 5_000.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@dataclass
class Server:
    """A server, and ways to ask it."""

    mesh: Mesh
    relays: Relays
    writer: Writer
    store: Store
    liveness: Liveness
    time: Time
    http: httpx.AsyncClient
    app: Any
    instance: str = ""
    _nonce: int = field(default=0)

    def signature(self, seed: int, method: str, target: str, body: bytes = b"", age: float = 0.0) -> dict[str, str]:
        self._nonce += 1
        signer = Signer(private_key(seed), SERVER_KEY.public_key)
        nonce = make_nonce(self.instance, f"{self._nonce:016}")
        return signer.sign(method, target, body, now=self.time.wall - age, nonce=nonce)

    async def learn_instance(self) -> None:
        self.instance = (await self.http.get("/v1/server")).json()["instance"]

    async def signed(self, seed: int, method: str, target: str, message: Any = None) -> httpx.Response:
        body = b"" if message is None else json.dumps(message).encode()
        return await self.http.request(method, target, content=body, headers=self.signature(seed, method, target, body))

    async def plain(self, method: str, target: str, message: Any = None) -> httpx.Response:
        return await self.http.request(method, target, content=None if message is None else json.dumps(message))

    async def join(self, seed: int, **fields: Any) -> api.RegisterResponse:
        answer = await self.signed(seed, "POST", "/v1/register", {"hostname": f"host-{seed}", **fields})
        assert answer.status_code == 200, answer.text
        return api.register_response.decode(answer.content)

    async def map(self, seed: int, query: str = "") -> api.MapUpdate:
        answer = await self.signed(seed, "GET", f"/v1/map{query}")
        assert answer.status_code == 200, answer.text
        return api.map_update.decode(answer.content)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    time = Time()
    clock = Clock(lambda: time.wall, lambda: time.monotonic)
    store = await Store.open(tmp_path / "peers.db")
    loaded = await store.load(IPv4Network("10.100.0.0/16"), Birth("epoch1", bytes(5), SERVER_KEY.public_key))
    writer = Writer(store, loaded.snapshot, clock)
    liveness = Liveness(120.0, time.monotonic)
    mesh = Mesh(
        writer, liveness, RateLimiter(BURST, 1.0, what="too many registrations from this address"), store, clock
    )
    writing = asyncio.create_task(writer.run())
    relays = Relays(mesh, writer, store, clock, SERVER_KEY.public_key, lambda: RELAY_KEY)
    app: Any = make_app(mesh, relays, SERVER_KEY, clock)
    transport = httpx.ASGITransport(app, client=("192.0.2.77", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
        server = Server(mesh, relays, writer, store, liveness, time, http, app)
        await server.learn_instance()
        yield server
    writer.stop()
    await writing
    await store.close()

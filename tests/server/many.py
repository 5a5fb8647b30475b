"""Several servers on one database, without HTTP: each with a store, a writer, and what it hears of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network

from lab.postgres import Postgres
from tests.core.samples import public_key
from tests.server.conftest import Time
from tests.waiting import until
from wireguard_mesh.core.liveness import Liveness
from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.writer import Writer
from wireguard_mesh.store.location import Location, PostgresUrl
from wireguard_mesh.store.store import Birth, Store

NETWORK = IPv4Network("10.100.0.0/16")
BIRTH = Birth("epoch1", bytes(5), public_key(1000))
TIMEOUT = 120.0


@dataclass
class Running:
    """One of the servers. Its clocks stand still unless they are turned."""

    store: Store
    writer: Writer
    mesh: Mesh
    time: Time

    @property
    def snapshot(self) -> Snapshot:
        return self.writer.snapshot

    async def until_equal(self, other: Running) -> None:
        """Wait until it has heard of all that another one knows."""
        await until(lambda: self.snapshot.sequence >= other.snapshot.sequence)


@asynccontextmanager
async def running(location: Location, *, is_told: bool = True) -> AsyncIterator[Running]:
    """A server, from its start to its end. Not `is_told`: the database tells it nothing of what others write."""
    time = Time()
    clock = Clock(lambda: time.wall, lambda: time.monotonic)
    store = await Store.open(location)
    try:
        loaded = await store.load(NETWORK, BIRTH)
        writer = Writer(store, loaded.snapshot, clock)
        liveness = Liveness(TIMEOUT, time.monotonic)
        liveness.load(loaded.last_seen.items(), [])
        mesh = Mesh(writer, liveness, RateLimiter(0, 1.0, what="too many"), store, clock)
        writing = asyncio.create_task(writer.run())
        following = asyncio.create_task(store.follow(writer.look if is_told else lambda _head: None, writer.lost))
        try:
            yield Running(store, writer, mesh, time)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            writer.stop()
            await writing
    finally:
        await store.close()


def name_of(location: Location) -> str:
    """The database's name in its server."""
    assert isinstance(location, PostgresUrl)
    return location.dsn.partition("?")[0].rpartition("/")[2]


def cut_all(postgres: Postgres, location: Location) -> int:
    """Have the server end all connections to a database; how many there were."""
    ended = postgres.query(
        "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(location)}'"
    )
    return len([row for row in ended if row != [""]])

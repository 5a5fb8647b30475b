"""A relay that stands alone, with a real server on loopback and in place of its process one that the test is."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.client.conftest import RealServer, until
from tests.samples import private_key, public_key
from wireguard_mesh.client import clock, relay_station
from wireguard_mesh.client.control import Control, ServerRefused
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.relay_addresses import Addresses
from wireguard_mesh.client.relay_state import Given, RelayFolder, settle
from wireguard_mesh.client.relay_station import RelayStation, StationOptions
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import NatClass, Relay, RelayId
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.relay_keys import RelayKey
from wireguard_mesh.relay.control import Observed, Setup, Stats
from wireguard_mesh.relay.sockets import VANTAGES
from wireguard_mesh.server.server_file import make_relay_key


class Process:
    """In place of `RelaySupervisor`."""

    last: Process

    def __init__(
        self, _sockets: Any, setup: Setup, on_observed: Callable[[Observed], None], on_stats: Callable[[Stats], None]
    ) -> None:
        self.setup, self.observed, self.stats = setup, on_observed, on_stats
        self.keys: set[PublicKey] = set()
        self._end = asyncio.Event()
        Process.last = self

    def roster(self, add: Iterable[PublicKey] = (), *, whole: bool = False) -> None:
        assert whole
        self.keys = set(add)

    async def run(self) -> None:
        await self._end.wait()

    def stop(self) -> None:
        self._end.set()


def free_ports() -> int:
    """The first of two neighbouring UDP ports that are free."""
    for port in range(40_000, 50_000, VANTAGES):
        try:
            for number in range(port, port + VANTAGES):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port
    raise AssertionError("no two neighbouring ports are free")


class Bench:
    """A server, and what a relay of it starts with."""

    def __init__(self, server: RealServer, folder: Path) -> None:
        self.server = server
        self.port = free_ports()
        self.folder = RelayFolder.at(folder)
        self.folder.make()
        self.key = make_relay_key(server_file(server))

    def options(self, key: RelayKey | None = None) -> StationOptions:
        given = Given(server=self.server.address, relay_key=key or self.key)
        return StationOptions(
            folder=self.folder,
            state=settle(self.folder, given, lambda: RelayId("fra-1"), os.urandom),
            host="127.0.0.1",
            port=self.port,
            addresses=Addresses.parse(["203.0.113.5"]),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RelayStation]:
        """A relay, until it is told to end."""
        station = RelayStation(self.options(), clock.now)
        task = asyncio.create_task(station.run())
        try:
            yield station
        finally:
            station.stop()
            async with asyncio.timeout(20):
                await task

    async def join(self, number: int, **said: Any) -> api.RegisterResponse:
        """A peer registers."""
        async with self.asking(number) as control:
            return await control.register(api.RegisterRequest(hostname=f"peer{number}", **said))

    async def map(self, number: int) -> api.MapUpdate:
        """The whole map as a peer gets it."""
        async with self.asking(number) as control:
            return await control.map(None)

    async def relay(self, number: int) -> Relay | None:
        """The relay as a peer's map has it."""
        relays = (await self.map(number)).relays or ()
        return next((relay for relay in relays if relay.id == "fra-1"), None)

    @asynccontextmanager
    async def asking(self, number: int) -> AsyncIterator[Control]:
        http = HttpClient(Dialer(self.server.address))
        try:
            yield Control(http, private_key(number), None, lambda: clock.now().wall)
        finally:
            http.drop_connections()


def server_file(server: RealServer) -> Path:
    return server._folder / "server.json"


@pytest.fixture
def bench(server: RealServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(relay_station, "RelaySupervisor", Process)
    monkeypatch.setattr(relay_station, "ROSTER_REST", 0.0)
    return Bench(server, tmp_path / "relay")


async def eventually(question: Callable[[], Any]) -> Any:
    """The first true answer of something that is awaited."""
    async with asyncio.timeout(20):
        while True:
            answer = await question()
            if answer:
                return answer
            await asyncio.sleep(0.02)


async def test_it_is_in_the_map_and_serves_whom_the_map_names(bench: Bench) -> None:
    await bench.join(1)
    async with bench.running():
        relay = await eventually(lambda: bench.relay(1))
        state = bench.folder.load()
        assert state is not None
        assert relay.endpoints(0) == (Endpoint.parse(f"203.0.113.5:{bench.port}"),)
        assert relay.endpoints(1) == (Endpoint.parse(f"203.0.113.5:{bench.port + 1}"),)
        assert relay.public_key == state.private_key.public_key
        process = Process.last
        assert tuple(point.public_key for point in relay.vantage_points) == tuple(
            key.public_key for key in process.setup.vantages
        )
        await until(lambda: process.keys == {public_key(1)})
        await bench.join(2)
        await until(lambda: process.keys == {public_key(1), public_key(2)})
        async with bench.asking(2) as control:
            await control.leave()
        await until(lambda: process.keys == {public_key(1)})
    assert await bench.relay(1) is None


async def test_what_it_sees_is_in_the_map(bench: Bench) -> None:
    await bench.join(1)
    seen = Endpoint.parse("198.51.100.7:1000")
    async with bench.running():
        await eventually(lambda: bench.relay(1))
        process = Process.last
        await until(lambda: public_key(1) in process.keys)
        for vantage in range(VANTAGES):
            process.observed(Observed(public_key(1), vantage, seen))
        process.observed(Observed(public_key(9), 0, seen))  # of nobody
        process.stats(Stats(forwarded_packets=7))

        async def me() -> Any:
            record = next(peer for peer in (await bench.map(1)).upsert if peer.public_key == public_key(1))
            return record if record.nat is not NatClass.UNKNOWN else None

        record = await eventually(me)
        assert record.reflexive == (seen,)
        assert record.nat is NatClass.EASY


async def test_it_serves_on_when_the_server_is_gone_and_comes_back_into_the_map(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await bench.join(1)
    async with bench.running():
        await eventually(lambda: bench.relay(1))
        await until(lambda: public_key(1) in Process.last.keys)
        await bench.server.stop()
        await until(lambda: "cannot be reached" in caplog.text)
        assert public_key(1) in Process.last.keys
        bench.server.lose_database()
        await bench.server.start()
        await bench.join(2)
        await eventually(lambda: bench.relay(2))
        await until(lambda: Process.last.keys == {public_key(2)})


async def test_without_a_server_it_starts_with_whom_it_served_last(bench: Bench) -> None:
    await bench.join(1)
    async with bench.running():
        await until(lambda: bench.folder.roster_path.exists())
    await bench.server.stop()
    async with bench.running():
        await until(lambda: Process.last.keys == {public_key(1)})
    assert await asyncio.to_thread(bench.folder.path.exists)


async def test_a_wrong_relay_key_ends_it_with_what_to_do(bench: Bench) -> None:
    station = RelayStation(bench.options(RelayKey(bytes(32))), clock.now)
    with pytest.raises(ServerRefused, match="the relay key is not this mesh's; 'vpn-server relay-key' prints it"):
        await station.run()


async def test_a_port_in_use_ends_it_before_anything_else(bench: Bench) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", bench.port + 1))
        with pytest.raises(Conflict, match=f"UDP port {bench.port + 1} is in use"):
            await RelayStation(bench.options(), clock.now).run()


async def test_a_disk_that_does_not_let_it_is_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.join(1)
    async with bench.running():
        await eventually(lambda: bench.relay(1))
        await until(lambda: bench.folder.roster_path.exists())
        bench.folder.roster_path.unlink()
        bench.folder.roster_path.mkdir()
        for number in (2, 3):
            await bench.join(number)
            await until(lambda: len(Process.last.keys) == number)  # noqa: B023  # waited for in this very turn
        await until(lambda: "roster.json cannot be written" in caplog.text)
    assert caplog.text.count("roster.json cannot be written") == 1


def test_options_show_no_secret(bench: Bench) -> None:
    options = bench.options()
    assert bench.key.to_text() not in repr(options)
    assert msgspec.structs.asdict(options)["port"] == bench.port

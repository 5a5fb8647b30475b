"""Relays, a carrier and an engine together, on loopback."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
from websockets.protocol import State

from tests.client.conftest import WG0, Faulty, until
from tests.client.web_relay import WebRelay
from tests.core.relay_samples import OWN, far
from tests.samples import private_key, public_key
from wireguard_mesh.client import clock
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.relaying import Relaying
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.wanted import Settings
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.relays import Relay

FIRST = OWN.vantage_points[0].public_key


class Made:
    """An agent's dealings with relays, without an agent."""

    def __init__(self, web: WebRelay, monkeypatch: pytest.MonkeyPatch, *relays: Relay, port: int = 51820) -> None:
        monkeypatch.setattr("wireguard_mesh.core.carriage.PATIENCE", 0.05)
        monkeypatch.setattr("wireguard_mesh.core.carriage.CERTAIN", 0.1)
        monkeypatch.setattr("wireguard_mesh.core.carriage.LINGER", 0.01)
        monkeypatch.setattr("wireguard_mesh.client.relaying.MAX_ASLEEP", 0.02)
        self.web = web
        self.engine = Engine(Settings(interface=WG0, private_key=private_key(1), listen_port=port))
        self.control = Control(HttpClient(Dialer(web.address)), private_key(1), public_key(2), time.time)
        self.path_news = self.distance_news = 0
        self.relaying = Relaying(
            self.engine, self.control, clock.now, on_path_news=self._path, on_distances=self._distance
        )
        self.relays = self.engine.relays
        self.relays.follow(relays or (OWN,), [ip_address("203.0.113.1")], ())

    def _path(self) -> None:
        self.path_news += 1

    def _distance(self) -> None:
        self.distance_news += 1

    def look(self, endpoint: Endpoint | None = None, handshake: float = 0.0, port: int = 51820) -> None:
        """The device was looked at."""
        seen = {
            key: ObservedPeer(public_key=key, endpoint=endpoint or wanted.endpoint, latest_handshake=handshake)
            for key, wanted in self.relays.rendezvous_peers(clock.now()).items()
        }
        device = ObservedDevice(name=WG0, backend=BackendKind.KERNEL, listen_port=port, peers=seen)
        self.engine.device = device
        self.relays.observed(device, clock.now())

    def returned(self) -> bool:
        """Answer by UDP, and say whether the carrier is gone."""
        self.relays.resets()
        self.look(handshake=time.time())
        return self.web.connections[0].state is State.CLOSED

    def carried(self) -> bool:
        """Whether the first vantage point is asked by a carrier."""
        endpoint = self.relays.rendezvous_peers(clock.now())[FIRST].endpoint
        return endpoint is not None and endpoint.address.is_loopback

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.relaying.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_carries_where_udp_does_not_get_through_and_ends_it_when_it_does(
    web: WebRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = Made(web, monkeypatch)
    async with made.running():
        made.look()
        await until(made.carried)
        assert len(web.connections) == 1
        assert made.path_news > 0
        await until(lambda: "UDP does not get through here" in caplog.text)
        await until(made.returned)
        assert not made.carried()
    assert caplog.text.count("UDP does not get through here") == 1
    assert caplog.text.count("UDP gets through again") == 1


async def test_a_carrier_that_was_there_for_a_moment_is_not_spoken_of(
    web: WebRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that was started anew answers over HTTP, and by UDP a moment later."""
    caplog.set_level(logging.INFO)
    made = Made(web, monkeypatch)
    monkeypatch.setattr("wireguard_mesh.core.carriage.CERTAIN", 3600.0)
    async with made.running():
        made.look()
        await until(made.carried)
        await until(made.returned)
    assert "UDP" not in caplog.text


async def test_a_carrier_follows_wireguards_port(web: WebRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(web, monkeypatch, port=0)
    async with made.running():
        made.look(port=0)
        await until(lambda: made.relays.wants_carrier(clock.now()))
        assert web.connections == []
        made.look(port=40001)
        await until(lambda: len(web.connections) == 1)
        made.look(port=40002)
        await until(lambda: len(web.connections) == 2)
        await until(made.carried)


async def test_another_network_renews_what_is_open(web: WebRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(web, monkeypatch)
    async with made.running():
        made.relaying.network_changed()
        made.look()
        await until(made.carried)
        made.relaying.network_changed()
        await until(lambda: len(web.connections) == 2)


async def test_tells_distances_as_they_change(web: WebRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(web, monkeypatch, far(1), far(2))
    mapped = Endpoint.parse("198.51.100.1:4000")
    async with made.running():
        made.look(handshake=time.time())
        for relay in (far(1), far(2)):
            made.relays.ponged(relay.id, 0, 0.02, mapped, clock.now())
        made.relaying.wake()
        await until(lambda: len(made.relaying.distances) == 2)
        assert made.distance_news == 1


async def test_tells_the_engine_where_the_server_is(web: WebRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(web, monkeypatch)
    told: list[object] = []
    monkeypatch.setattr(made.engine, "server_reached", told.append)
    async with made.running():
        made.control.http.dialer.remembered = (ip_address("127.0.0.1"),)
        await until(lambda: (ip_address("127.0.0.1"),) in told)


async def test_a_fault_of_ours_is_said_once_and_ends_nothing(
    web: WebRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Made(web, monkeypatch)
    fault = Faulty()
    with monkeypatch.context() as patched:
        patched.setattr(made.relays, "distances", fault)
        async with made.running():
            await until(lambda: fault.times > 2)
    assert caplog.text.count("relays cannot be followed") == 1
    async with made.running():
        made.look()
        await until(made.carried)

"""Pings to relays that are made here on loopback, and answer as they are told."""

import asyncio
import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.samples import private_key, public_key
from wireguard_mesh.client import clock, relay_probe
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.model.relays import OWN_RELAY, Relay, VantagePoint
from wireguard_mesh.protocol.pings import Ping, PingKeys, Pong

LOOPBACK = IPv4Address("127.0.0.1")
MAPPED = Endpoint.parse("203.0.113.9:7")
CLIENT = 1


@dataclass
class Vantage(asyncio.DatagramProtocol):
    """A vantage point that answers pings that verify, but for the first `deaf` ones."""

    key: PrivateKey
    deaf: int = 0
    pings: list[int] = field(default_factory=list)
    transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert self.transport is not None
        keys = PingKeys(self.key.exchange(public_key(CLIENT)))
        assert Ping.is_signed(data, keys)
        self.pings.append(Ping.parse(data).microseconds)
        if len(self.pings) <= self.deaf:
            return
        self.transport.sendto(b"nonsense", addr)
        self.transport.sendto(Pong(self.pings[-1] + 7, MAPPED).build(keys), addr)  # an answer to nothing
        self.transport.sendto(Pong(self.pings[-1], MAPPED).build(keys), addr)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_probe, "GAP", 0.02)
    monkeypatch.setattr(relay_probe, "PATIENCE", 0.1)


@pytest.fixture
async def vantages() -> AsyncIterator[tuple[Vantage, Vantage]]:
    made = (Vantage(private_key(90)), Vantage(private_key(91), deaf=2))
    loop = asyncio.get_running_loop()
    for one in made:
        await loop.create_datagram_endpoint(functools.partial(_itself, one), local_addr=("127.0.0.1", 0))
    yield made
    for one in made:
        assert one.transport is not None
        one.transport.close()


def _itself(one: Vantage) -> Vantage:
    return one


def relay(*vantages: Vantage) -> Relay:
    points = []
    for one in vantages:
        assert one.transport is not None
        port = one.transport.get_extra_info("sockname")[1]
        points.append(VantagePoint(one.key.public_key, port))
    return Relay(id=OWN_RELAY, vantage_points=tuple(points))


async def test_each_vantage_point_is_asked_a_few_times(vantages: tuple[Vantage, Vantage]) -> None:
    probed = await relay_probe.probe(private_key(CLIENT), [relay(*vantages)], [LOOPBACK], clock.now, offset=5.0)
    assert len(probed.samples) == 2 * relay_probe.ROUNDS
    answered = [
        [sample for sample in probed.samples if sample.number == number and sample.seconds] for number in (0, 1)
    ]
    assert [len(group) for group in answered] == [relay_probe.ROUNDS, relay_probe.ROUNDS - 2]
    assert {sample.mapped for group in answered for sample in group} == {MAPPED}
    assert vantages[0].pings == sorted(set(vantages[0].pings))
    assert vantages[0].pings[0] / 1e6 > clock.now().wall  # by the relay's clock
    assert set(probed.ports) == {4}


async def test_where_nobody_is_nothing_answers(vantages: tuple[Vantage, Vantage]) -> None:
    there = relay(*vantages)
    nowhere = Relay(id=OWN_RELAY, vantage_points=there.vantage_points)
    probed = await relay_probe.probe(private_key(CLIENT), [nowhere], [IPv4Address("127.1.2.3")], clock.now)
    assert not any(sample.seconds for sample in probed.samples)


async def test_a_family_that_this_machine_lacks_counts_as_unanswered(
    vantages: tuple[Vantage, Vantage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_version: int) -> Any:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(relay_probe, "_open", refuse)
    probed = await relay_probe.probe(private_key(CLIENT), [relay(*vantages)], [LOOPBACK], clock.now)
    assert len(probed.samples) == 2 * relay_probe.ROUNDS
    assert probed.ports == {}


async def test_without_relays_there_is_nothing_to_wait_for() -> None:
    probed = await relay_probe.probe(private_key(CLIENT), [], [LOOPBACK], clock.now)
    assert probed.samples == ()

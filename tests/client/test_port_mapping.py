"""The keeper of a port mapping, with routers that give, refuse, lie and fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from tests.samples import private_key
from tests.waiting import until
from wireguard_mesh.client import port_mapping
from wireguard_mesh.client.port_mapping import LIFETIME, SHORTEST, PortMapper, mapping_nonce
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.protocol.pcp import NONCE_LENGTH, Mapped, MappingRefused
from wireguard_mesh.protocol.status import PortMapping

HOME = IPv4Address("192.168.1.1")
CAFE = IPv4Address("192.168.2.1")
OUTER = IPv4Address("198.51.100.7")
PORT = 51820
MAPPED = Mapped(OUTER, 40000, 600)
Request = tuple[IPv4Address, int, int, int]


@dataclass
class FakeWay:
    """Answers with what it is told to."""

    name: str
    answer: Mapped | MappingRefused | OSError | None = None
    heard: list[Request] = field(default_factory=list)

    async def ask(self, gateway: IPv4Address, port: int, external_port: int, lifetime: int) -> Mapped | None:
        self.heard.append((gateway, port, external_port, lifetime))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Around:
    """A mapper and all around it."""

    def __init__(self, *ways: FakeWay) -> None:
        self.now = 1000.0
        self.port = PORT
        self.gateway: IPv4Address | None = HOME
        self.told: list[tuple[Endpoint, ...]] = []
        self.ways = ways
        self.mapper = PortMapper(
            lambda: self.port,
            lambda: Instant(self.now, self.now),
            self.told.append,
            nonce=bytes(NONCE_LENGTH),
            gateway=lambda: self.gateway,
            ways=ways,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.mapper.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def change(self) -> None:
        """Links changed; wait until everybody was asked who is to be."""
        before = [len(way.heard) for way in self.ways]
        self.mapper.network_changed()
        await until(lambda: [len(way.heard) for way in self.ways] != before)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_mapping, "SETTLE_SECONDS", 0.0)


def endpoint(mapped: Mapped = MAPPED) -> Endpoint:
    return Endpoint(mapped.address, mapped.port)


def pause(around: Around) -> float:
    return around.mapper._pause()


async def test_the_first_way_that_gives_one_is_taken() -> None:
    around = Around(FakeWay("pcp"), FakeWay("nat-pmp", MAPPED), FakeWay("upnp", MAPPED))
    async with around.running():
        await until(lambda: around.told)
    assert around.told == [(endpoint(),)]
    assert around.mapper.report == PortMapping(protocol="nat-pmp", endpoint=endpoint())
    assert [way.heard for way in around.ways] == [[(HOME, PORT, PORT, LIFETIME)], [(HOME, PORT, PORT, LIFETIME)], []]
    assert pause(around) == pytest.approx(300)


async def test_at_half_its_lifetime_the_same_is_asked_for_again() -> None:
    around = Around(FakeWay("pcp"), FakeWay("nat-pmp", MAPPED))
    await around.mapper._renew()
    around.now += 300
    assert pause(around) == 0
    await around.mapper._renew()
    assert around.ways[1].heard[1] == (HOME, PORT, 40000, LIFETIME)
    assert len(around.ways[0].heard) == 1, "the way that worked is asked first"
    assert pause(around) == pytest.approx(300)


@pytest.mark.parametrize(("given", "expected"), [(1, SHORTEST / 2), (10**9, LIFETIME / 2), (SHORTEST, SHORTEST / 2)])
async def test_a_router_that_exaggerates_is_not_asked_more_or_less_often(given: int, expected: float) -> None:
    around = Around(FakeWay("pcp", Mapped(OUTER, 40000, given)))
    await around.mapper._renew()
    assert pause(around) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (MappingRefused("the router refused: it is full"), "it is full"),
        (Mapped(IPv4Address("0.0.0.0"), 40000, 600), "no address"),
        (Mapped(IPv4Address("127.0.0.1"), 40000, 600), "nobody reaches"),
        (Mapped(OUTER, 0, 600), "port"),
        (Mapped(OUTER, 40000, 0), "no time"),
        (OSError(101, "Network is unreachable"), "unreachable"),
        (None, "no router answers"),
    ],
)
async def test_what_a_router_says_wrongly_is_no_mapping(
    answer: Mapped | MappingRefused | OSError | None, problem: str
) -> None:
    around = Around(FakeWay("pcp", answer), FakeWay("nat-pmp"))
    await around.mapper._renew()
    around.mapper._tell()
    assert around.told == []
    assert problem in around.mapper.report.problem
    assert around.mapper.report.protocol == ""
    assert around.ways[1].heard, "another way may do"


async def test_without_any_the_router_is_asked_ever_more_seldom() -> None:
    around = Around(FakeWay("pcp"))
    pauses = []
    for _ in range(12):
        await around.mapper._renew()
        pauses.append(pause(around))
    assert 30 <= pauses[0] <= 60
    assert 1800 <= pauses[-1] <= 3600


async def test_without_port_or_gateway_nobody_is_asked() -> None:
    around = Around(FakeWay("pcp", MAPPED))
    around.port = 0
    await around.mapper._renew()
    assert around.mapper.report == PortMapping()
    around.port, around.gateway = PORT, None
    await around.mapper._renew()
    assert "no IPv4 gateway" in around.mapper.report.problem
    assert around.ways[0].heard == []


async def test_a_mapping_that_is_not_renewed_stands_until_its_end() -> None:
    way = FakeWay("pcp", MAPPED)
    around = Around(way)
    await around.mapper._renew()
    way.answer = None
    around.now += 300
    await around.mapper._renew()
    around.mapper._tell()
    assert around.told == [(endpoint(),)]
    assert 5 <= pause(around) <= 10
    assert around.mapper.report.endpoint == endpoint()
    assert "no router answers" in around.mapper.report.problem
    around.now += 299
    assert pause(around) <= 1
    around.now += 1
    await around.mapper._renew()
    around.mapper._tell()
    assert around.told[-1] == ()
    assert around.mapper.report.endpoint is None


async def test_on_another_network_the_mapping_of_the_last_one_is_gone() -> None:
    way = FakeWay("pcp", MAPPED)
    around = Around(way)
    async with around.running():
        await until(lambda: around.told)
        around.gateway, way.answer = CAFE, None
        await around.change()
        await until(lambda: len(around.told) == 2)
        assert not around.told[-1]
        way.answer = Mapped(OUTER, 41000, 600)
        await around.change()
        await until(lambda: len(around.told) == 3)
    assert around.told[-1] == (Endpoint(OUTER, 41000),)
    assert way.heard[-1] == (CAFE, PORT, PORT, LIFETIME)


async def test_another_port_takes_the_mapping_of_the_last_one_away() -> None:
    way = FakeWay("pcp", MAPPED)
    around = Around(way)
    await around.mapper._renew()
    around.port = 5
    await around.mapper._renew()
    assert way.heard == [(HOME, PORT, PORT, LIFETIME), (HOME, PORT, 40000, 0), (HOME, 5, 5, LIFETIME)]


async def test_release_has_it_forwarded_no_longer() -> None:
    way = FakeWay("pcp", MAPPED)
    around = Around(way)
    await around.mapper.release()
    assert way.heard == []
    await around.mapper._renew()
    await around.mapper.release()
    assert way.heard[-1] == (HOME, PORT, 40000, 0)
    assert around.mapper.report.endpoint is None


@pytest.mark.parametrize("error", [MappingRefused("no"), OSError(101, "unreachable")])
async def test_release_never_fails(error: MappingRefused | OSError) -> None:
    way = FakeWay("pcp", MAPPED)
    around = Around(way)
    await around.mapper._renew()
    way.answer = error
    await around.mapper.release()


async def test_release_takes_its_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_mapping, "RELEASE_SECONDS", 0.01)
    around = Around(FakeWay("pcp", MAPPED))
    await around.mapper._renew()

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(around.ways[0], "ask", hang)
    await around.mapper.release()


def test_the_nonce_is_of_the_machine() -> None:
    assert len(mapping_nonce(private_key(1))) == NONCE_LENGTH
    assert mapping_nonce(private_key(1)) == mapping_nonce(private_key(1))
    assert mapping_nonce(private_key(1)) != mapping_nonce(private_key(2))


def test_the_usual_ways() -> None:
    mapper = PortMapper(lambda: 0, lambda: Instant(0, 0), lambda _: None, nonce=bytes(NONCE_LENGTH))
    assert [way.name for way in mapper._ways] == ["pcp", "nat-pmp", "upnp"]

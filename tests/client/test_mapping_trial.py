import asyncio
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from wireguard_mesh.client import mapping_trial
from wireguard_mesh.client.mapping_trial import try_port_mapping
from wireguard_mesh.client.port_mapping import SHORTEST
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.protocol.pcp import Mapped, MappingRefused
from wireguard_mesh.protocol.status import PortMapping

HOME = IPv4Address("192.168.1.1")
MAPPED = Mapped(IPv4Address("198.51.100.7"), 40000, 120)
AT = Endpoint.parse("198.51.100.7:40000")


@dataclass
class FakeWay:
    """Answers with what it is told to; `ask` for no time at all gives back."""

    name: str
    answer: Mapped | Exception | None = None
    heard: list[tuple[int, int, int]] = field(default_factory=list)
    hangs: bool = False

    async def ask(self, gateway: IPv4Address, port: int, external_port: int, lifetime: int) -> Mapped | None:
        assert gateway == HOME
        self.heard.append((port, external_port, lifetime))
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_all_protocols_that_the_router_speaks_are_told_and_what_they_gave_is_given_back() -> None:
    silent, second, third = FakeWay("pcp"), FakeWay("nat-pmp", MAPPED), FakeWay("upnp", MAPPED)
    assert await try_port_mapping(HOME, [silent, second, third]) == PortMapping(protocol="nat-pmp, upnp", endpoint=AT)
    assert len(silent.heard) == 1
    for way in (second, third):
        (port, liked, lifetime), returned = way.heard
        assert (liked, lifetime, returned) == (0, SHORTEST, (port, 40000, 0))
    assert second.heard[0][0] != third.heard[0][0]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (MappingRefused("the router refuses"), "pcp: the router refuses"),
        (OSError("no route"), "pcp: no route"),
        (Mapped(IPv4Address("127.0.0.1"), 1, 1), "pcp: the router claims an address that nobody reaches"),
        (None, "no router answers to PCP, NAT-PMP or UPnP"),
    ],
)
async def test_why_there_is_none(answer: Mapped | Exception | None, problem: str) -> None:
    assert await try_port_mapping(HOME, [FakeWay("pcp", answer), FakeWay("upnp")]) == PortMapping(problem=problem)


async def test_a_router_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping_trial, "PATIENCE", 0.02)
    assert (await try_port_mapping(HOME, [FakeWay("pcp", hangs=True)])).problem.startswith("no router answers")


async def test_without_a_gateway_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping_trial, "default_gateway", lambda: None)
    assert "no IPv4 gateway" in (await try_port_mapping()).problem

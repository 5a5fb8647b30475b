import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address

import pytest

from tests.client.conftest import RealServer
from tests.samples import private_key, public_key
from wireguard_mesh.client import clock, netcheck
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.relay_probe import Probed
from wireguard_mesh.core.netchecking import Sample
from wireguard_mesh.core.proxies import Proxy
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.relays import OWN_RELAY, NatClass, Relay, VantagePoint
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.status import NatStatus, PortMapping, UdpState

AT = Endpoint.parse("192.0.2.1:8080")
RELAY = Relay(id=OWN_RELAY, vantage_points=(VantagePoint(public_key(90), 8080),))


_clients: list[HttpClient] = []


@pytest.fixture(autouse=True)
async def no_connection_stays() -> AsyncIterator[None]:
    yield
    while _clients:
        _clients.pop().drop_connections()


def around(
    address: ServerAddress, try_websocket: Callable[[], Awaitable[None]] | None = None, *relays: Relay
) -> netcheck.Surroundings:
    http = HttpClient(Dialer(address))
    _clients.append(http)
    return netcheck.Surroundings(
        private_key=private_key(1),
        control=Control(http, private_key(1), None, time.time),
        relays=relays,
        local=(ip_address("192.0.2.9"),),
        nat=NatStatus(kind=NatClass.HARD),
        proxy=Proxy("proxy", 3128, b"user:secret"),
        try_websocket=try_websocket,
    )


@pytest.fixture(autouse=True)
def router(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that speaks PCP; no real one is asked."""

    async def try_port_mapping() -> PortMapping:
        return PortMapping(protocol="pcp")

    monkeypatch.setattr(netcheck, "try_port_mapping", try_port_mapping)


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """What the relays answer."""
    made: list[Sample] = []

    async def probe(*_: object) -> Probed:
        return Probed(tuple(made), {4: 7})

    monkeypatch.setattr(netcheck, "probe", probe)
    return made


async def test_all_is_put_together(server: RealServer, samples: list[Sample]) -> None:
    async def opens() -> None:
        """A WebSocket that opens."""

    samples.append(Sample(relay=OWN_RELAY, number=0, endpoint=AT, seconds=0.01, mapped=Endpoint.parse("192.0.2.9:7")))
    found = await netcheck.netcheck(around(server.address, opens, RELAY), clock.now)
    assert (found.udp, found.nat, found.wireguard.kind) == (UdpState.WORKS, NatClass.PUBLIC, NatClass.HARD)
    assert (found.ipv4.works, found.ipv4.addresses, found.ipv6.works) == (True, ("192.0.2.9",), None)
    assert found.vantage_points[0].milliseconds == 10.0
    assert (found.web.reachable, found.web.websocket, found.web.proxy) == (True, True, "http://proxy:3128")
    assert found.port_mapping.protocol == "pcp"
    assert found.problems == ()


async def test_silence_while_the_server_answers_is_udp_that_is_blocked(
    server: RealServer, samples: list[Sample]
) -> None:
    async def fails() -> None:
        raise Unavailable("a proxy refuses")

    samples.append(Sample(relay=OWN_RELAY, number=0, endpoint=AT))
    found = await netcheck.netcheck(around(server.address, fails, RELAY), clock.now)
    assert (found.udp, found.nat) == (UdpState.BLOCKED, NatClass.BLOCKED)
    assert (found.web.websocket, found.web.problem) == (False, "a proxy refuses")


async def test_a_network_without_anything(samples: list[Sample]) -> None:
    found = await netcheck.netcheck(around(ServerAddress("http", "127.0.0.1", 9)), clock.now)
    assert (found.udp, found.web.reachable, found.web.websocket) == (UdpState.UNKNOWN, False, None)
    assert "cannot be reached" in found.web.problem
    assert "no relay" in found.problems[0]


async def test_nothing_takes_for_ever(
    server: RealServer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> None:
        raise TimeoutError

    found = await netcheck.netcheck(around(server.address, hangs), clock.now)
    assert found.web.problem == "no answer in time"
    one = around(server.address)
    monkeypatch.setattr(one.control, "server_info", hangs)
    assert (await netcheck.netcheck(one, clock.now)).web.problem == "no answer in time"

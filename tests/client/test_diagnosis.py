"""What an agent on fakes answers to those who ask why, over its socket; the network is that of this machine."""

import asyncio
from ipaddress import IPv4Address

import pytest

from tests.client.conftest import DEADLINE, Agents, RealServer, RunningAgent, until
from tests.samples import public_key
from wireguard_mesh.client import diagnosis, icmp
from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.netcheck import Surroundings
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.diagnosis import Explanation, Netcheck, Pong
from wireguard_mesh.protocol.status import PortMapping, UdpState


async def pair(server: RealServer, agents: Agents) -> RunningAgent:
    """The second of two agents, when it knows the first."""
    first = agents.start(1, server.address)
    await first.up()
    second = agents.start(2, server.address)
    await second.up()
    await until(lambda: (found := second.agent.parts.engine.map) is not None and public_key(1) in found.peers)
    return second


async def test_pings_go_through_the_tunnel(server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, float]] = []

    async def ping(address: Address, sequence: int, seconds: float) -> float | None:
        asked.append((str(address), sequence, seconds))
        if sequence == 2:
            raise Unavailable("there is no way")
        return 0.0125 if sequence == 1 else None

    monkeypatch.setattr(icmp, "ping", ping)
    agent = await pair(server, agents)
    pongs = []
    for sequence in (1, 2, 3):
        pong = await agent.ask(local.PingRequest(peer="HOST-1", sequence=sequence, timeout=1.5))
        assert isinstance(pong, Pong)
        pongs.append(pong)
    assert [pong.milliseconds for pong in pongs] == [12.5, None, None]
    assert [pong.problem for pong in pongs] == ["", "there is no way", ""]
    assert (pongs[0].hostname, pongs[0].address, pongs[0].path.trials) == ("host-1", "10.100.0.1", ())
    await agent.ask(local.PingRequest(peer="10.100.0.1", is_ipv6=True))
    assert asked[0] == ("10.100.0.1", 1, 1.5)
    assert ":" in asked[-1][0]


@pytest.mark.parametrize(
    ("name", "message"), [("ghost", "no peer is called ghost"), ("host-2", "host-2 is this machine itself")]
)
async def test_who_is_no_peer_is_not_pinged(server: RealServer, agents: Agents, name: str, message: str) -> None:
    agent = await pair(server, agents)
    for request in (local.PingRequest(peer=name), local.ExplainRequest(name)):
        refused = await agent.ask(request)
        assert isinstance(refused, local.Refused)
        assert refused.error == message


async def test_a_path_is_explained(server: RealServer, agents: Agents) -> None:
    agent = await pair(server, agents)
    told = await agent.ask(local.ExplainRequest("host-1"))
    assert isinstance(told, Explanation)
    assert (told.hostname, told.summary) == ("host-1", "There is no path to host-1 now.")
    assert told.why


async def test_the_network_is_tried_once_for_all_who_ask_at_once(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()
    tried: list[Surroundings] = []

    async def netcheck(around: Surroundings, _clock: Clock) -> Netcheck:
        tried.append(around)
        await release.wait()
        return Netcheck(udp=UdpState.WORKS)

    monkeypatch.setattr(diagnosis, "netcheck", netcheck)
    agent = await pair(server, agents)
    asking = [asyncio.create_task(agent.ask(local.NetcheckRequest())) for _ in range(3)]
    await until(lambda: bool(tried))
    release.set()
    assert all(isinstance(answer, Netcheck) for answer in await asyncio.gather(*asking))
    assert len(tried) == 1
    assert tried[0].private_key.public_key == public_key(2)
    await agent.ask(local.NetcheckRequest())
    assert len(tried) == 2


async def test_the_network_is_tried_for_real(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def try_port_mapping() -> PortMapping:
        return PortMapping(problem="this machine's own router is not asked")

    monkeypatch.setattr("wireguard_mesh.client.netcheck.try_port_mapping", try_port_mapping)
    agent = await pair(server, agents)
    async with asyncio.timeout(DEADLINE):
        found = await agent.ask(local.NetcheckRequest())
        while isinstance(found, Netcheck) and not found.web.websocket:  # the relay's process takes a while to start
            found = await agent.ask(local.NetcheckRequest())
    assert isinstance(found, Netcheck)
    assert (found.udp, found.ipv4.works) == (UdpState.WORKS, True)
    assert (found.web.reachable, found.web.websocket, found.web.problem) == (True, True, "")
    assert [(check.relay, check.number) for check in found.vantage_points] == [("server", 0), ("server", 1)]
    assert {check.mapped.address for check in found.vantage_points if check.mapped} == {IPv4Address("127.0.0.1")}

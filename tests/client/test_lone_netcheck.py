from pathlib import Path

import msgspec
import pytest

from tests.client.conftest import RealServer, network_map
from tests.samples import private_key, public_key
from wireguard_mesh.client import lone_netcheck
from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.netcheck import Surroundings
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.relays import OWN_RELAY, NatClass, Relay, VantagePoint
from wireguard_mesh.protocol.diagnosis import Netcheck
from wireguard_mesh.protocol.status import UdpState
from wireguard_mesh.system.fake import FakeSystem

RELAY = Relay(id=OWN_RELAY, vantage_points=(VantagePoint(public_key(90), 8080),))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Surroundings]:
    made: list[Surroundings] = []

    async def netcheck(around: Surroundings, _clock: Clock) -> Netcheck:
        made.append(around)
        return Netcheck(udp=UdpState.WORKS)

    monkeypatch.setattr(lone_netcheck, "netcheck", netcheck)
    return made


async def test_identity_and_last_map_are_enough(server: RealServer, tmp_path: Path, tried: list[Surroundings]) -> None:
    folder = StateFolder(tmp_path)
    state = ClientState(private_key=private_key(1), server=server.address, server_public_key=public_key(9))
    folder.save(state)
    known = network_map(2)
    me = msgspec.structs.replace(known.me, nat=NatClass.EASY)
    folder.save_map(msgspec.structs.replace(known, me=me, relays=(RELAY,)), public_key(1), public_key(9))
    await lone_netcheck.netcheck_by_disk(folder, state, FakeSystem())
    (around,) = tried
    assert (around.relays, around.nat.kind, around.proxy) == ((RELAY,), NatClass.EASY, None)
    assert around.private_key == private_key(1)


async def test_without_a_map_the_server_alone_is_tried(
    server: RealServer, tmp_path: Path, tried: list[Surroundings]
) -> None:
    folder = StateFolder(tmp_path)
    state = ClientState(private_key=private_key(1), server=server.address)
    assert await lone_netcheck.lone_netcheck(folder, state, str(tmp_path)) == Netcheck(udp=UdpState.WORKS)
    assert tried[0].relays == ()

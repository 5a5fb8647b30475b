from pathlib import Path

import pytest

from tests.client.conftest import WG0, Agents, RealServer
from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.client.teardown import leave, offline_status, remove_socket, take_down
from wireguard_mesh.model.devices import DeviceChange, PeerChange
from wireguard_mesh.model.errors import Conflict, Unavailable, Unsupported
from wireguard_mesh.model.hosts import WantedHost
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.status import State
from wireguard_mesh.system.fake import FakeSystem
from wireguard_mesh.wireguard.fake import FakeBackend
from wireguard_mesh.wireguard.interface import Backend

STATE = ClientState(
    private_key=private_key(1),
    server=ServerAddress("http", "127.0.0.1", 9),
    peer_id="peer-000001",
    server_public_key=public_key(9),
    assigned_ip=peer(1).ipv4,
)
HOST = WantedHost(interface=WG0, mtu=1420, addresses=frozenset(), routes=frozenset())
MAP = NetworkMap(epoch="e", revision=3, network=NETWORK, me=peer(1), peers={public_key(2): peer(2)})


@pytest.fixture
async def backend() -> FakeBackend:
    made = FakeBackend()
    await made.create(WG0, 1420)
    peers = (PeerChange(public_key=public_key(2), create=True, allowed_ips=frozenset(peer(2).addresses)),)
    await made.apply(WG0, DeviceChange(private_key=private_key(1), listen_port=4242, peers=peers))
    return made


async def test_takes_down_what_has_our_key(backend: FakeBackend) -> None:
    system = FakeSystem()
    assert await take_down(WG0, STATE, backend, system)
    assert not backend.devices
    assert system.count["undo"] == 1


async def test_takes_down_what_the_journal_says_is_ours_without_any_identity(backend: FakeBackend) -> None:
    system = FakeSystem()
    await system.prepare(WG0)
    await system.apply(HOST)
    assert await take_down(WG0, None, backend, system)
    assert not backend.devices


async def test_undoes_what_the_journal_says_though_the_interface_is_gone() -> None:
    system = FakeSystem()
    await system.prepare(WG0)
    assert await take_down(WG0, STATE, FakeBackend(), system)
    assert WG0 not in system.owned


async def test_undoes_without_any_wireguard() -> None:
    system = FakeSystem()
    await system.prepare(WG0)
    assert await take_down(WG0, STATE, None, system)
    assert not await take_down(WG0, STATE, None, system)


async def test_nothing_there_is_nothing_to_do() -> None:
    assert not await take_down(WG0, STATE, FakeBackend(), FakeSystem())


async def test_what_is_not_ours_is_left_alone(backend: FakeBackend) -> None:
    with pytest.raises(Conflict, match="not ours"):
        await take_down(WG0, ClientState(private_key=private_key(5)), backend, FakeSystem())
    assert WG0 in backend.devices
    system = FakeSystem()
    system.interfaces.add(WG0)
    with pytest.raises(Conflict, match="not ours"):
        await take_down(WG0, STATE, FakeBackend(), system)


async def test_what_somebody_made_in_place_of_ours_is_left_alone(backend: FakeBackend) -> None:
    system = FakeSystem()
    await system.prepare(WG0)
    await system.apply(HOST)
    system.replaced.add(WG0)
    with pytest.raises(Conflict, match="not ours"):
        await take_down(WG0, ClientState(private_key=private_key(5)), backend, system)
    assert WG0 in backend.devices
    assert WG0 not in system.owned, "what was set beside the interface is undone"


async def test_takes_down_a_device_whose_program_hangs(backend: FakeBackend) -> None:
    system = FakeSystem()
    system.interfaces.add(WG0)
    await system.prepare(WG0)
    await system.apply(HOST)
    backend.fail("read", Unavailable("it hangs"), times=2)
    assert await take_down(WG0, STATE, backend, system)
    assert not backend.devices


def test_removes_a_dead_agents_socket(tmp_path: Path) -> None:
    (tmp_path / "wg0.sock").touch()
    remove_socket(str(tmp_path), WG0)
    remove_socket(str(tmp_path), WG0)
    assert not list(tmp_path.iterdir())


async def test_leaves_without_an_agent_and_twice(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    await one.end()
    for _ in range(2):
        state = one.folder.load()
        assert state is not None
        await leave(one.folder, state)
        left = one.folder.load()
        assert left is not None
        assert left.peer_id == ""
    unknown = ClientState(private_key=private_key(1), server=server.address, peer_id="peer-000001")
    await leave(one.folder, unknown)


async def test_leaving_that_nobody_hears_forgets_nothing(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(STATE)
    with pytest.raises(Unavailable):
        await leave(folder, STATE)
    assert folder.load() == STATE


async def test_the_status_without_an_agent_is_that_of_disk_and_device(tmp_path: Path, backend: FakeBackend) -> None:
    folder = StateFolder(tmp_path)
    folder.save_map(MAP, public_key(1), public_key(9))

    async def opened(_name: InterfaceName) -> Backend:
        return backend

    status = await offline_status(folder, STATE, WG0, opened)
    assert (status.state, status.peer_id, status.ipv4) == (State.STOPPED, "peer-000001", peer(1).ipv4)
    assert (status.listen_port, status.map.revision, status.hostname) == (4242, 3, "host-1")
    assert [one.active for one in status.peers] == [False]
    assert status.peers[0].allowed_ips
    assert backend.closed


async def test_the_status_without_agent_device_and_map(tmp_path: Path) -> None:
    async def opened(_name: InterfaceName) -> Backend:
        raise Unsupported("no WireGuard here")

    status = await offline_status(StateFolder(tmp_path), STATE, WG0, opened)
    assert (status.backend, status.network, status.peers) == (None, None, ())
    assert status.problems == ("no WireGuard here",)

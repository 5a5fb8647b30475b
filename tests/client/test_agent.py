"""Agents on fakes against a real server on loopback."""

import asyncio
import json
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest

from tests.client.conftest import WG0, Agents, RealServer, Scripted, answering, response, until
from tests.samples import public_key
from wireguard_mesh.client.control import ServerKeyChanged, ServerRefused
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.known_map import KnownMap
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict, NotPermitted, Unavailable, Unsupported
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.peers import MapVersion, NetworkMap
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.status import MapSource, PortMapping, State
from wireguard_mesh.system.interface import LinkEvent

NOWHERE = ServerAddress("http", "127.0.0.1", 9)


def lan(address: str) -> LocalAddress:
    return LocalAddress(
        interface=InterfaceName("eth0"), address=ip_address(address), prefix=ip_network("192.0.2.0/24"), mtu=1500
    )


async def test_joins_and_is_up(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    assert one.backend.devices[WG0].listen_port == 51820
    host = one.system.applied[WG0]
    assert host.mtu == 1420
    assert {str(address) for address in host.addresses} >= {"10.100.0.1/16"}
    status = await one.status()
    assert (status.state, str(status.ipv4), status.server.reachable) == (State.UP, "10.100.0.1", True)
    await one.end()


async def test_agents_find_each_other_and_one_calls_first(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    one.system.addresses = [lan("192.0.2.1")]
    await one.up()
    other = agents.start(2, server.address)
    other.system.addresses = [lan("192.0.2.2")]
    await other.up()
    await until(lambda: public_key(2) in one.backend.devices[WG0].peers)
    await until(lambda: public_key(1) in other.backend.devices[WG0].peers)
    assert other.backend.devices[WG0].peers[public_key(1)].keepalive == 25
    following = [change for change in one.backend.changes for peer in change.peers if peer.public_key == public_key(2)]
    assert following[0].peers[0].keepalive == 0
    await until(lambda: one.backend.devices[WG0].peers[public_key(2)].keepalive == 25)


async def test_what_it_learned_is_on_disk(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    await one.end()
    state = json.loads(one.folder.path.read_text())
    assert state["assigned_ip"] == "10.100.0.1"
    assert state["peer_id"].startswith("peer-")
    assert state["server_public_key"]
    assert one.folder.map_path.stat().st_mode & 0o777 == 0o600


async def test_the_tunnel_outlives_the_agent_and_the_next_one_adopts_it(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    await one.end()
    assert WG0 in one.backend.devices
    again = agents.start(1, server.address)
    await again.up()
    assert again.backend.count["create"] == 1


async def test_starts_from_the_last_map_when_no_server_answers(server: RealServer, agents: Agents) -> None:
    one, other = agents.start(1, server.address), agents.start(2, server.address)
    await one.up()
    await other.up()
    await until(lambda: public_key(2) in one.backend.devices[WG0].peers)
    await one.end()
    await server.stop()
    one.backend.kill(WG0)
    again = agents.start(1, server.address)
    await again.up()
    await until(lambda: public_key(2) in again.backend.devices[WG0].peers)
    status = await again.status()
    assert not status.server.reachable
    assert "cannot be reached" in status.server.problem


async def test_goes_on_when_the_server_comes_back(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    await server.stop()
    await until(lambda: not one.agent.parts.membership.contact.works)
    await server.start()
    await until(lambda: one.agent.parts.membership.contact.works)
    assert not one.task.done()


async def test_changes_come_by_stream_and_the_status_tells_how_old_the_map_is(
    server: RealServer, agents: Agents
) -> None:
    one = agents.start(1, server.address)
    await one.up()
    await until(lambda: one.agent.parts.membership.follower.source is MapSource.STREAM)
    other = agents.start(2, server.address)
    await other.up()
    await until(lambda: public_key(2) in one.backend.devices[WG0].peers)
    await until(lambda: one.agent.parts.membership.answered_at > 0)
    status = await one.status()
    known = status.map
    assert (known.source, known.lag, known.problem) == (MapSource.STREAM, 0, "")
    assert known.revision == known.head
    assert status.started <= known.current <= time.time()
    assert status.started <= status.server.heartbeat <= time.time()
    await server.stop()
    await until(lambda: one.agent.parts.membership.follower.source is MapSource.NONE)
    before, after = (await one.status()).map, (await one.status()).map
    assert abs(before.current - after.current) < 0.1
    assert (before.revision, before.lag) == (known.revision, 0)


async def test_a_restarted_agent_goes_on_from_its_last_map(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = agents.start(1, server.address), agents.start(2, server.address)
    await one.up()
    await other.up()
    await until(lambda: public_key(2) in one.backend.devices[WG0].peers)
    await one.end()
    third = agents.start(3, server.address)
    await third.up()
    kinds: list[UpdateKind] = []
    take = KnownMap.take

    def spy(known: KnownMap, update: MapUpdate, since: MapVersion | None, now: Instant) -> NetworkMap:
        if known is again.agent.parts.disk.known:
            kinds.append(update.kind)
        return take(known, update, since, now)

    monkeypatch.setattr(KnownMap, "take", spy)
    again = agents.start(1, server.address)
    await until(lambda: public_key(3) in again.backend.devices[WG0].peers)
    await until(lambda: again.agent.parts.membership.follower.source is MapSource.STREAM)
    assert kinds[0] is UpdateKind.DELTA
    assert UpdateKind.SNAPSHOT not in kinds
    assert public_key(2) in again.backend.devices[WG0].peers


async def test_a_server_that_was_restarted_is_followed_without_the_whole_map(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = agents.start(1, server.address)
    await one.up()
    follower, known = one.agent.parts.membership.follower, one.agent.parts.disk.known
    await until(lambda: follower.source is MapSource.STREAM)
    kinds: list[UpdateKind] = []
    take = KnownMap.take

    def spy(which: KnownMap, update: MapUpdate, since: MapVersion | None, now: Instant) -> NetworkMap:
        if which is known:
            kinds.append(update.kind)
        return take(which, update, since, now)

    monkeypatch.setattr(KnownMap, "take", spy)
    await server.stop()
    await server.start()
    other = agents.start(2, server.address)
    await other.up()
    await until(lambda: public_key(2) in one.backend.devices[WG0].peers)
    await until(lambda: follower.source is MapSource.STREAM and one.agent.parts.membership.contact.works)
    assert UpdateKind.SNAPSHOT not in kinds


async def test_a_server_with_another_database_is_another_epoch(server: RealServer, agents: Agents) -> None:
    one, other = agents.start(1, server.address), agents.start(2, server.address)
    await one.up()
    await other.up()
    await until(lambda: public_key(2) in one.backend.devices[WG0].peers)
    before = one.agent.parts.disk.known.since
    await other.end()
    await server.stop()
    server.lose_database()
    await server.start()
    known = one.agent.parts.disk.known
    await until(lambda: known.since is not None and before is not None and known.since.epoch != before.epoch)
    await until(lambda: public_key(2) not in one.backend.devices[WG0].peers)
    await until(lambda: one.agent.parts.membership.contact.works)


async def test_makes_the_device_anew_when_it_vanished(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    one.backend.kill(WG0)
    one.system.emit(WG0, LinkEvent.INTERFACE)
    await until(lambda: WG0 in one.backend.devices and one.backend.devices[WG0].listen_port == 51820)
    assert one.backend.count["create"] == 2


async def test_tells_the_server_of_a_new_address(server: RealServer, agents: Agents) -> None:
    one, other = agents.start(1, server.address), agents.start(2, server.address)
    await one.up()
    await other.up()
    one.system.addresses = [lan("192.0.2.99")]
    one.system.emit(WG0, LinkEvent.ADDRESSES)

    def endpoint() -> str:
        peers = other.backend.devices[WG0].peers
        return str(peers[public_key(1)].endpoint) if public_key(1) in peers else ""

    await until(lambda: endpoint() == "192.0.2.99:51820")


async def test_a_fault_of_ours_about_the_hosts_network_ends_nothing(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = agents.start(1, server.address)
    await one.up()
    with monkeypatch.context() as patch:
        patch.setattr(one.agent.parts.engine, "rerouted", None)
        one.system.emit(WG0, LinkEvent.ROUTES)
        await until(lambda: any(record.exc_info for record in caplog.records))
    assert not one.task.done()
    one.backend.kill(WG0)
    one.system.emit(WG0, LinkEvent.INTERFACE)
    await until(lambda: WG0 in one.backend.devices)


async def test_a_foreign_interface_is_left_alone(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    one.system.interfaces.add(WG0)
    with pytest.raises(Conflict, match="-interface"):
        await one.task
    assert not one.backend.devices
    assert one.backend.count["remove"] == 0


async def test_a_foreign_wireguard_device_is_left_alone(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.backend.create(WG0, 1420)
    with pytest.raises(Conflict, match="-interface"):
        await one.task
    assert WG0 in one.backend.devices


@pytest.mark.parametrize("error", [Unsupported("no tun"), NotPermitted("no root"), Conflict("port")])
async def test_what_the_user_must_put_right_ends_it_and_leaves_nothing(
    server: RealServer, agents: Agents, error: Exception
) -> None:
    one = agents.start(1, server.address)
    one.system.fail("apply", error)  # type: ignore[arg-type]  # all three are of the type that it takes
    with pytest.raises(type(error)):
        await one.task
    assert not one.backend.devices
    assert WG0 not in one.system.owned


async def test_a_passing_fault_is_tried_again(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    one.backend.fail("apply", Unavailable("busy"))
    await one.up()
    assert one.backend.count["apply"] == 2


async def test_a_server_that_refuses_ends_the_first_join(scripted: Scripted, agents: Agents) -> None:
    info = response(
        "200 OK",
        json.dumps(
            {
                "server_public_key": str(public_key(9)),
                "network": {"ipv4": "10.100.0.0/16", "ipv6": "fd00::/64"},
                "epoch": "e",
                "admission": "open",
                "instance": "i" * 16,
                "version": "1",
                "time": 0,
            }
        ).encode(),
    )
    refusal = response("403 Forbidden", b'{"code":"closed","error":"nobody may join","hint":"ask"}')
    scripted.talk = answering(scripted, info, refusal)
    one = agents.start(1, scripted.address)
    with pytest.raises(ServerRefused, match="nobody may join; ask"):
        await one.task
    assert not one.backend.devices


async def test_another_server_key_than_the_pinned_one_is_refused(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address, server_public_key=public_key(77))
    with pytest.raises(ServerKeyChanged, match="-trust-new-server-key"):
        await one.task


async def test_down_removes_everything_and_answers_before_it_ends(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    assert await one.ask(local.DownRequest()) == local.Done()
    await one.task
    assert not one.backend.devices
    assert not one.system.applied
    assert not (one.directory / "wg0.sock").exists()


async def test_logout_gives_the_place_back(server: RealServer, agents: Agents) -> None:
    one, other = agents.start(1, server.address), agents.start(2, server.address)
    await one.up()
    await other.up()
    await until(lambda: public_key(1) in other.backend.devices[WG0].peers)
    assert await one.ask(local.LogoutRequest()) == local.Done()
    await one.task
    await until(lambda: public_key(1) not in other.backend.devices[WG0].peers)
    assert json.loads(one.folder.path.read_text())["peer_id"] == ""
    assert not one.folder.map_path.exists()


async def test_set_changes_the_running_agent_and_its_next_start(server: RealServer, agents: Agents) -> None:
    one, other = agents.start(1, server.address), agents.start(2, server.address)
    await one.up()
    await other.up()
    request = local.SetRequest(exit_node=True, hostname="gate", use_exit_node="off")
    assert await one.ask(request) == local.Done()
    await until(lambda: one.system.applied[WG0].forwarding is not None)

    def seen() -> tuple[str, bool]:
        network_map = other.agent.parts.engine.map
        peer = network_map.peers.get(public_key(1)) if network_map else None
        return (peer.hostname, peer.exit_node) if peer else ("", False)

    await until(lambda: seen() == ("gate", True))
    await one.end()
    state = json.loads(one.folder.path.read_text())
    assert (state["hostname"], state["exit_node"], state["use_exit_node"]) == ("gate", True, "off")


async def test_set_refuses_nonsense_and_changes_nothing(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    await one.up()
    before = one.agent.parts.engine.settings
    for request in (local.SetRequest(hostname="not a name", exit_node=True), local.SetRequest(use_exit_node="nobody")):
        answer = await one.ask(request)
        assert isinstance(answer, local.Refused)
    assert one.agent.parts.engine.settings == before


async def test_without_server_and_map_it_waits_and_says_why(agents: Agents) -> None:
    one = agents.start(1, NOWHERE)
    await until(lambda: bool(one.agent.parts.membership.contact.problem))
    status = await one.status()
    assert status.state is State.JOINING
    assert "cannot be reached" in status.server.problem
    assert not one.task.done()


async def test_a_disk_that_does_not_let_us_stops_nothing(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = agents.start(1, server.address)

    def refuse(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(one.folder, "save", refuse)
    monkeypatch.setattr(one.folder, "save_map", refuse)
    await one.up()
    await until(lambda: bool(one.agent.parts.disk.problem))
    assert (await one.status()).problems == ("the disk is full",)
    await one.end()


async def test_all_that_start_at_once_find_each_other(server: RealServer, agents: Agents) -> None:
    joined = [agents.start(number, server.address) for number in range(1, 9)]
    await asyncio.gather(*(one.up() for one in joined))
    keys = {public_key(number) for number in range(1, 9)}
    await until(lambda: all(len(keys & set(one.backend.devices[WG0].peers)) == len(joined) - 1 for one in joined))


async def test_a_first_start_that_fails_gives_its_place_back(server: RealServer, agents: Agents) -> None:
    one = agents.start(1, server.address)
    one.system.fail("apply", Conflict("a route of this machine overlaps the mesh", "use another network"))
    with pytest.raises(Conflict):
        await one.task
    state = one.folder.load()
    assert state is not None
    assert (state.peer_id, state.assigned_ip) == ("", None)
    assert not one.folder.map_path.exists()
    other = agents.start(2, server.address)
    await other.up()
    assert (await other.status()).peers == ()


class Forwarding:
    """In place of a port mapper: a router that forwards at once."""

    mapped: tuple[Endpoint, ...] = ()
    report = PortMapping()
    is_released = False

    def __init__(self, port: Callable[[], int], _: object, on_mapped: Callable[[object], None], **__: object) -> None:
        self._port, self._on_mapped = port, on_mapped

    async def run(self) -> None:
        self.mapped = (Endpoint(ip_address("198.51.100.1"), self._port()),)
        self._on_mapped(self.mapped)
        await asyncio.Event().wait()

    async def release(self) -> None:
        self.is_released = True

    def network_changed(self) -> None:
        """Nothing else is to be had."""


async def test_a_port_that_the_router_forwards_is_told_to_the_others_and_given_back_in_the_end(
    server: RealServer, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.agent.PortMapper", Forwarding)
    one, other = agents.start(1, server.address), agents.start(2, server.address)
    await other.up()
    expected = (Endpoint.parse("198.51.100.1:51820"),)

    def is_told() -> bool:
        network_map = other.agent.parts.engine.map
        peer = network_map.peers.get(public_key(1)) if network_map else None
        return peer is not None and peer.mapped == expected

    await until(is_told)
    await one.ask(local.DownRequest())
    await one.task
    mapper: object = one.agent.parts.mapper
    assert isinstance(mapper, Forwarding)
    assert mapper.is_released

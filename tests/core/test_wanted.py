from ipaddress import ip_interface

import msgspec
import pytest

from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.core.exit_nodes import ExitDecision
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sessions import Session
from wireguard_mesh.core.wanted import (
    FWMARK,
    MIN_MTU,
    Settings,
    is_member,
    tunnel_mtu,
    wanted_device,
    wanted_host,
)
from wireguard_mesh.model.devices import ObservedPeer
from wireguard_mesh.model.hosts import Forwarding
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.peers import DEFAULT_ROUTES, NetworkMap, Peer

NOW = Instant(100.0, 1_000_100.0)
SETTINGS = Settings(interface=InterfaceName("wg0"), private_key=private_key(1))
NOBODY = ExitDecision()


def network_map(*peers: Peer) -> NetworkMap:
    return NetworkMap(epoch="e", revision=1, network=NETWORK, me=peer(1), peers={one.public_key: one for one in peers})


def session(one: Peer, start_at: float = 0.0) -> Session:
    made = Session(start_at=start_at)
    made.offer(None, one.endpoints, NOW)
    return made


def alive(one: Peer) -> Session:
    made = session(one)
    made.observe(ObservedPeer(public_key=one.public_key, latest_handshake=NOW.wall - 10), NOW)
    return made


def offline(number: int) -> Peer:
    return msgspec.structs.replace(peer(number), online=False)


@pytest.mark.parametrize(
    ("fixed", "link", "expected"), [(None, 1500, 1420), (None, 9000, 8920), (None, 1300, MIN_MTU), (1400, 1500, 1400)]
)
def test_mtu(fixed: int | None, link: int, expected: int) -> None:
    assert tunnel_mtu(msgspec.structs.replace(SETTINGS, mtu=fixed), link) == expected


def test_a_peer_is_a_member_while_it_is_online_or_its_tunnel_lives() -> None:
    assert is_member(peer(2), session(peer(2)), NOW)
    assert not is_member(offline(2), session(peer(2)), NOW)
    assert is_member(offline(2), alive(peer(2)), NOW)


def test_the_device_has_each_member_with_its_own_addresses() -> None:
    peers = peer(2), offline(3), offline(4)
    sessions = {public_key(2): session(peers[0]), public_key(3): session(peers[1]), public_key(4): alive(peers[2])}
    device = wanted_device(SETTINGS, network_map(*peers), sessions, NOBODY, {}, NOW)
    assert (device.private_key, device.listen_port, device.fwmark) == (private_key(1), 51820, FWMARK)
    assert set(device.peers) == {public_key(2), public_key(4)}
    assert device.peers[public_key(2)].allowed_ips == frozenset(peers[0].addresses)
    assert device.peers[public_key(2)].endpoint == peers[0].endpoints[0]
    assert device.peers[public_key(2)].keepalive == 25
    assert device.peers[public_key(4)].endpoint is None


def test_who_follows_has_neither_keepalive_nor_address_yet() -> None:
    sessions = {public_key(2): session(peer(2), start_at=NOW.monotonic + 0.3)}
    device = wanted_device(SETTINGS, network_map(peer(2)), sessions, NOBODY, {}, NOW)
    assert device.peers[public_key(2)].keepalive == 0
    assert device.peers[public_key(2)].endpoint is None


def test_the_exit_node_gets_all_other_traffic_offline_or_not() -> None:
    sessions = {public_key(2): session(peer(2)), public_key(3): session(peer(3))}
    through = ExitDecision(routed=True, key=public_key(3))
    device = wanted_device(SETTINGS, network_map(peer(2), offline(3)), sessions, through, {}, NOW)
    assert device.peers[public_key(3)].allowed_ips == frozenset({*peer(3).addresses, *DEFAULT_ROUTES})
    assert device.peers[public_key(2)].allowed_ips == frozenset(peer(2).addresses)


def test_the_host_has_addresses_and_routes_of_both_families() -> None:
    host = wanted_host(SETTINGS, network_map(), NOBODY, 1500)
    me = peer(1)
    assert host.addresses == {ip_interface(f"{me.ipv4}/16"), ip_interface(f"{me.ipv6}/64")}
    assert host.routes == {NETWORK.ipv4, NETWORK.ipv6}
    assert (host.interface, host.mtu) == ("wg0", 1420)
    assert host.exit_routing is None
    assert host.forwarding is None


def test_the_host_routes_to_an_exit_node_by_mark_and_table() -> None:
    host = wanted_host(SETTINGS, network_map(), ExitDecision(routed=True), 1500)
    assert host.exit_routing is not None
    assert (host.exit_routing.fwmark, host.exit_routing.table) == (51820, 51820)
    assert host.exit_routing.families == {4, 6}


def test_an_exit_node_forwards_for_the_mesh_only() -> None:
    offers = msgspec.structs.replace(SETTINGS, offers_exit_node=True)
    assert wanted_host(offers, network_map(), NOBODY, 1500).forwarding == Forwarding(
        sources=frozenset({NETWORK.ipv4, NETWORK.ipv6})
    )

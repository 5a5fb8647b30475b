from ipaddress import ip_address, ip_network

from wireguard_mesh.core.endpoints import is_virtual_link, published, ranked
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName


def link(name: str, address: str, prefix: str) -> LocalAddress:
    return LocalAddress(interface=InterfaceName(name), address=ip_address(address), prefix=ip_network(prefix), mtu=1500)


def endpoints(*texts: str) -> tuple[Endpoint, ...]:
    return tuple(Endpoint.parse(text) for text in texts)


LAN = link("eth0", "192.168.1.5", "192.168.1.0/24")
DOCKER = link("docker0", "172.17.0.1", "172.17.0.0/16")
LAN6 = link("eth0", "2001:db8:1::5", "2001:db8:1::/64")


def test_knows_container_links_by_name() -> None:
    assert is_virtual_link(InterfaceName("docker0"))
    assert is_virtual_link(InterfaceName("br-1234567890ab"))
    assert not is_virtual_link(InterfaceName("eth0"))
    assert not is_virtual_link(InterfaceName("br0"))


def test_publishes_every_address_once_with_the_port_and_container_links_last() -> None:
    assert published([DOCKER, LAN, LAN, LAN6], 51820, 16) == endpoints(
        "192.168.1.5:51820", "[2001:db8:1::5]:51820", "172.17.0.1:51820"
    )


def test_publishes_no_more_than_the_limit() -> None:
    assert published([LAN, LAN6, DOCKER], 1, 2) == endpoints("192.168.1.5:1", "[2001:db8:1::5]:1")


def test_a_peer_on_our_link_is_tried_there_first() -> None:
    candidates = endpoints("203.0.113.7:51820", "192.168.1.9:51820")
    assert ranked(candidates, [LAN], 51820) == tuple(reversed(candidates))


def test_otherwise_the_peers_own_order_is_kept() -> None:
    candidates = endpoints("203.0.113.7:51820", "10.1.1.1:51820", "198.51.100.4:9")
    assert ranked(candidates, [LAN], 51820) == candidates


def test_addresses_in_a_container_range_of_ours_or_of_a_family_that_we_lack_come_last() -> None:
    candidates = endpoints("[2001:db8:2::1]:51820", "172.17.0.9:51820", "203.0.113.7:51820")
    assert ranked(candidates, [LAN, DOCKER], 51820) == (candidates[2], candidates[0], candidates[1])


def test_what_would_reach_ourselves_is_left_out_and_another_port_of_ours_is_doubted() -> None:
    candidates = endpoints("172.17.0.1:51820", "172.17.0.1:51821", "203.0.113.7:51820")
    assert ranked(candidates, [LAN, DOCKER], 51820) == (candidates[2], candidates[1])


def test_without_knowledge_of_our_links_nothing_is_doubted() -> None:
    candidates = endpoints("[2001:db8:2::1]:51820", "203.0.113.7:51820")
    assert ranked(candidates, [], 51820) == candidates

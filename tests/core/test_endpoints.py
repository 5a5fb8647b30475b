from ipaddress import ip_address, ip_network

import msgspec

from tests.samples import peer
from wireguard_mesh.core.endpoints import Surroundings, is_virtual_link, leads_inside, published
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import CandidateKind


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


def candidates(
    *hosts: str, mapped: tuple[str, ...] = (), reflexive: tuple[str, ...] = (), local: tuple[LocalAddress, ...] = (LAN,)
) -> list[tuple[str, CandidateKind]]:
    one = msgspec.structs.replace(
        peer(2), endpoints=endpoints(*hosts), mapped=endpoints(*mapped), reflexive=endpoints(*reflexive)
    )
    found = Surroundings(local, 51820).candidates(one)
    return [(str(candidate.endpoint), candidate.kind) for candidate in found]


def test_a_peer_on_our_link_is_tried_there_first() -> None:
    assert candidates("203.0.113.7:51820", "192.168.1.9:51820") == [
        ("192.168.1.9:51820", CandidateKind.LAN),
        ("203.0.113.7:51820", CandidateKind.HOST),
    ]


def test_then_what_is_reached_from_anywhere_in_the_peers_own_order() -> None:
    assert candidates("203.0.113.7:51820", "[2001:db8:2::1]:51820", "198.51.100.4:9", local=(LAN, LAN6)) == [
        ("203.0.113.7:51820", CandidateKind.HOST),
        ("[2001:db8:2::1]:51820", CandidateKind.IPV6),
        ("198.51.100.4:9", CandidateKind.HOST),
    ]


def test_then_what_is_mapped_then_where_it_is_heard_then_its_sites_own() -> None:
    found = candidates(
        "10.1.1.1:51820", "[fd00::1]:51820", mapped=("203.0.113.7:1",), reflexive=("203.0.113.7:2",), local=(LAN, LAN6)
    )
    assert found == [
        ("203.0.113.7:1", CandidateKind.MAPPED),
        ("203.0.113.7:2", CandidateKind.REFLEXIVE),
        ("10.1.1.1:51820", CandidateKind.HOST),
        ("[fd00::1]:51820", CandidateKind.HOST),
    ]


def test_an_address_is_named_once_as_the_first_that_it_is() -> None:
    assert candidates("203.0.113.7:1", mapped=("203.0.113.7:1",), reflexive=("203.0.113.7:1",)) == [
        ("203.0.113.7:1", CandidateKind.HOST)
    ]


def test_addresses_in_a_container_range_of_ours_or_of_a_family_that_we_lack_come_last() -> None:
    found = candidates("[2001:db8:2::1]:51820", "172.17.0.9:51820", "203.0.113.7:51820", local=(LAN, DOCKER))
    assert found == [
        ("203.0.113.7:51820", CandidateKind.HOST),
        ("[2001:db8:2::1]:51820", CandidateKind.DOUBTFUL),
        ("172.17.0.9:51820", CandidateKind.DOUBTFUL),
    ]
    assert candidates(reflexive=("[2001:db8:2::1]:9",)) == [("[2001:db8:2::1]:9", CandidateKind.DOUBTFUL)]


def test_what_would_reach_ourselves_is_left_out_and_another_port_of_ours_is_doubted() -> None:
    found = candidates("172.17.0.1:51820", "172.17.0.1:51821", "203.0.113.7:51820", local=(LAN, DOCKER))
    assert found == [
        ("203.0.113.7:51820", CandidateKind.HOST),
        ("172.17.0.1:51821", CandidateKind.DOUBTFUL),
    ]


def test_a_peer_may_be_heard_from_our_own_address_whose_router_we_are() -> None:
    assert candidates(reflexive=("192.168.1.5:40000",)) == [("192.168.1.5:40000", CandidateKind.REFLEXIVE)]


def test_without_knowledge_of_our_links_nothing_is_doubted() -> None:
    assert candidates("[2001:db8:2::1]:51820", "203.0.113.7:51820", local=()) == [
        ("[2001:db8:2::1]:51820", CandidateKind.IPV6),
        ("203.0.113.7:51820", CandidateKind.HOST),
    ]


MESH = (ip_network("10.100.0.0/16"), ip_network("fd00:1:2:3::/64"))


def test_an_address_of_the_mesh_leads_into_the_tunnel() -> None:
    assert leads_inside(ip_address("10.100.0.2"), MESH, [LAN])
    assert leads_inside(ip_address("fd00:1:2:3::2"), MESH, [LAN])
    assert not leads_inside(ip_address("10.101.0.2"), MESH, [LAN])
    assert not leads_inside(ip_address("10.100.0.2"), (), [LAN])


def test_but_not_where_a_link_has_a_narrower_range_of_it() -> None:
    narrower = link("eth0", "10.100.7.5", "10.100.7.0/24")
    assert not leads_inside(ip_address("10.100.7.9"), MESH, [LAN, narrower])
    assert leads_inside(ip_address("10.100.8.9"), MESH, [LAN, narrower])
    assert leads_inside(ip_address("10.100.7.9"), MESH, [link("eth0", "10.100.7.5", "10.100.0.0/16")])


def test_no_peer_is_tried_through_the_tunnel() -> None:
    one = msgspec.structs.replace(
        peer(2),
        endpoints=endpoints("10.100.0.2:51820", "203.0.113.7:51820"),
        mapped=endpoints("10.100.0.3:51820"),
        reflexive=endpoints("[fd00:1:2:3::2]:51820"),
    )
    found = Surroundings([LAN], 51820, MESH).candidates(one)
    assert [str(candidate.endpoint) for candidate in found] == ["203.0.113.7:51820"]


def test_no_peer_is_on_this_machine() -> None:
    found = candidates("127.0.0.1:53", "[::1]:53", "203.0.113.7:51820", reflexive=("127.0.0.1:51820",))
    assert [endpoint for endpoint, _ in found] == ["203.0.113.7:51820"]

"""Links, addresses, routes and rules of a namespace, against what iproute2 says."""

import errno
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from socket import AF_INET, AF_INET6

import pytest

from lab.lab import Lab
from tests.system.hosts import add_interface, inside, tool
from wireguard_mesh.netlink.connection import NetlinkError
from wireguard_mesh.netlink.records import (
    IFF_UP,
    LinkAddress,
    Route,
    Rule,
)
from wireguard_mesh.netlink.rtnetlink import Rtnetlink

pytestmark = pytest.mark.lab


@pytest.fixture
def routing(lab: Lab) -> Iterator[Rtnetlink]:
    with inside(lab):
        routing = Rtnetlink()
        yield routing
        routing.close()


def test_links(routing: Rtnetlink) -> None:
    add_interface("wg0")
    link = routing.link("wg0")
    assert link is not None
    assert (link.name, link.kind, link.mtu, link.is_up) == ("wg0", "veth", 1500, False)
    assert link in routing.links()
    routing.set_mtu(link.index, 1400)
    routing.set_up(link.index)
    after = routing.link("wg0")
    assert after is not None
    assert after.mtu == 1400
    assert after.flags & IFF_UP
    assert after.is_up
    routing.delete_link(link.index)
    assert routing.link("wg0") is None
    routing.create_link("bridge0", "bridge", 1300)
    assert "mtu 1300" in tool("ip", "link", "show", "bridge0")
    with pytest.raises(NetlinkError) as raised:
        routing.create_link("bridge0", "bridge", 1300)
    assert raised.value.errno == errno.EEXIST


@pytest.mark.parametrize("text", ["10.9.0.1/16", "fd00:9::1/64"])
def test_addresses(routing: Rtnetlink, text: str) -> None:
    link = routing.link("eth0")
    assert link is not None
    address = LinkAddress(link.index, ip_interface(text))
    routing.add_address(address)
    assert text in tool("ip", "address", "show", "eth0")
    assert text in {str(found.interface) for found in routing.addresses() if found.index == link.index}
    routing.delete_address(address)
    assert text not in tool("ip", "address", "show", "eth0")


@pytest.mark.parametrize("text", ["198.51.100.0/24", "0.0.0.0/0", "2001:db8:7::/48", "::/0"])
@pytest.mark.parametrize("table", [254, 51820])
def test_routes(routing: Rtnetlink, text: str, table: int) -> None:
    link = routing.link("eth0")
    assert link is not None
    prefix = ip_network(text)
    family = AF_INET if prefix.version == 4 else AF_INET6
    before = routing.routes(family, table)
    route = Route(prefix, table, link.index)
    routing.add_route(route)
    assert [found for found in routing.routes(family, table) if found not in before] == [route]
    routing.delete_route(route)
    assert routing.routes(family, table) == before


def test_a_route_to_somewhere(routing: Rtnetlink) -> None:
    link = routing.link("eth0")
    found = routing.route_to(ip_address("192.0.2.200"))
    assert link is not None
    assert found is not None
    assert found.link == link.index
    assert routing.route_to(ip_address("203.0.113.1")) is None
    assert routing.route_to(ip_address("2001:db8:77::1")) is None


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_rules(routing: Rtnetlink, family: int) -> None:
    rules = (
        Rule(family, 32000, 51820, fwmark=51820, invert=True),
        Rule(family, 31999, 254, suppress_prefixlength=0),
    )
    for rule in rules:
        routing.add_rule(rule)
        assert rule in routing.rules()
    shown = tool("ip", "-4" if family == AF_INET else "-6", "rule")
    assert "32000:\tnot from all fwmark 0xca6c lookup 51820" in shown
    assert "31999:\tfrom all lookup main suppress_prefixlength 0" in shown
    for rule in rules:
        routing.delete_rule(rule)
        assert rule not in routing.rules()

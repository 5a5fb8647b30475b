"""The order of this machine's addresses, and which are left out."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from typing import cast

from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.records import (
    IFA_F_DEPRECATED,
    IFA_F_TENTATIVE,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_UP,
    Link,
    LinkAddress,
    Route,
)
from wireguard_mesh.netlink.rtnetlink import Rtnetlink
from wireguard_mesh.system.local import local_addresses, path_mtu

UP = IFF_UP | IFF_LOWER_UP


@dataclass
class Tables:
    """The kernel's tables."""

    all_links: list[Link]
    all_addresses: list[LinkAddress] = field(default_factory=list)
    main: list[Route] = field(default_factory=list)
    lookup: Route | None = None

    def links(self) -> list[Link]:
        return self.all_links

    def addresses(self) -> list[LinkAddress]:
        return self.all_addresses

    def routes(self, _family: int, _table: int) -> list[Route]:
        return self.main

    def route_to(self, _destination: object, _fwmark: int) -> Route | None:
        return self.lookup

    def as_rtnetlink(self) -> Rtnetlink:
        return cast(Rtnetlink, self)


def test_order_and_what_is_left_out() -> None:
    links = [
        Link(1, "lo", 65536, UP | IFF_LOOPBACK),
        Link(2, "docker0", 1500, UP, "bridge"),
        Link(3, "eth1", 9000, UP),
        Link(4, "eth0", 1500, UP),
        Link(5, "eth2", 1500, IFF_UP),
        Link(6, "wg0", 1420, UP, "wireguard"),
        Link(7, "tailscale0", 1280, UP, "tun"),
        Link(8, "virbr7", 1500, UP),
    ]
    texts = [
        (1, "127.0.0.1/8", 0),
        (2, "172.17.0.1/16", 0),
        (3, "10.9.0.1/24", 0),
        (4, "192.0.2.1/24", 0),
        (4, "fe80::1/64", 0),
        (4, "2001:db8::1/64", 0),
        (4, "2001:db8::2/64", IFA_F_DEPRECATED),
        (4, "2001:db8::3/64", IFA_F_TENTATIVE),
        (5, "10.8.0.1/24", 0),
        (6, "10.100.0.1/16", 0),
        (7, "100.64.0.1/32", 0),
        (8, "192.168.122.1/24", 0),
        (99, "10.7.0.1/24", 0),
    ]
    tables = Tables(
        links,
        [LinkAddress(index, ip_interface(text), flags) for index, text, flags in texts],
        [Route(ip_network("0.0.0.0/0"), link=4), Route(ip_network("10.9.0.0/24"), link=3)],
    )
    found = local_addresses(tables.as_rtnetlink(), {InterfaceName("wg0")})
    assert [str(local.address) for local in found] == [
        "192.0.2.1",
        "2001:db8::1",
        "10.9.0.1",
        "172.17.0.1",
        "100.64.0.1",
        "192.168.122.1",
    ]
    assert (found[2].interface, found[2].mtu, found[2].prefix) == ("eth1", 9000, ip_network("10.9.0.0/24"))


def test_the_mtu_is_the_routes_or_the_links() -> None:
    tables = Tables([Link(4, "eth0", 1480, UP)])
    there = ip_address("203.0.113.1")
    assert path_mtu(tables.as_rtnetlink(), there, 0) is None
    tables.lookup = Route(ip_network("203.0.113.1/32"), link=4)
    assert path_mtu(tables.as_rtnetlink(), there, 0) == 1480
    tables.lookup = Route(ip_network("203.0.113.1/32"), link=4, mtu=1300)
    assert path_mtu(tables.as_rtnetlink(), there, 0) == 1300
    tables.lookup = Route(ip_network("203.0.113.1/32"), link=5)
    assert path_mtu(tables.as_rtnetlink(), there, 0) is None

"""Where this machine can be reached, and how large packets may be: read from the kernel's tables."""

from __future__ import annotations

from collections.abc import Collection
from socket import AF_INET, AF_INET6
from typing import Final

from wireguard_mesh.core.endpoints import is_virtual_link
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.records import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_TENTATIVE,
    IFF_LOOPBACK,
    RT_TABLE_MAIN,
    RTN_UNICAST,
    Link,
    LinkAddress,
)
from wireguard_mesh.netlink.rtnetlink import Rtnetlink

_UNUSABLE: Final = IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE
# What containers, virtual machines and other tunnels make: real, but seldom where others come in.
_SECONDARY_KINDS: Final = frozenset({"bridge", "dummy", "tun", "veth", "vxlan", "wireguard"})
_FIRST, _USUAL, _LAST = 0, 1, 2


def local_addresses(routing: Rtnetlink, own: Collection[InterfaceName]) -> list[LocalAddress]:
    """See `System.local_addresses`. `own` are the interfaces that are ours. Raises `NetlinkError`."""
    links = {link.index: link for link in routing.links()}
    default = _default_links(routing)
    found = [
        (_rank(links[address.index], default), address)
        for address in routing.addresses()
        if address.index in links and _is_reachable(links[address.index], address, own)
    ]
    found.sort(key=lambda ranked: ranked[0])  # stable: within a rank the kernel's order stays
    return [_local_address(links[address.index], address) for _, address in found]


def path_mtu(routing: Rtnetlink, destination: Address, fwmark: int) -> int | None:
    """The MTU of the way to `destination` for packets with this mark, None if there is none. Raises `NetlinkError`."""
    route = routing.route_to(destination, fwmark)
    if route is None:
        return None
    if route.mtu:
        return route.mtu
    return next((link.mtu for link in routing.links() if link.index == route.link), None)


def _default_links(routing: Rtnetlink) -> frozenset[int]:
    return frozenset(
        route.link
        for family in (AF_INET, AF_INET6)
        for route in routing.routes(family, RT_TABLE_MAIN)
        if route.destination.prefixlen == 0 and route.kind == RTN_UNICAST and route.link
    )


def _is_reachable(link: Link, address: LinkAddress, own: Collection[InterfaceName]) -> bool:
    if link.name in own or link.flags & IFF_LOOPBACK or not link.is_up or address.flags & _UNUSABLE:
        return False
    ip = address.interface.ip
    return not (ip.is_link_local or ip.is_loopback or ip.is_multicast or ip.is_unspecified)


def _rank(link: Link, default: frozenset[int]) -> int:
    if link.index in default:
        return _FIRST
    secondary = link.kind in _SECONDARY_KINDS or is_virtual_link(InterfaceName(link.name))
    return _LAST if secondary else _USUAL


def _local_address(link: Link, address: LinkAddress) -> LocalAddress:
    return LocalAddress(
        interface=InterfaceName(link.name),
        address=address.interface.ip,
        prefix=address.interface.network,
        mtu=link.mtu,
    )

"""Links, addresses, routes and rules as the kernel has them (rtnetlink(7), linux/rtnetlink.h, linux/fib_rules.h). Pure.

A record says what the kernel says, as far as a mesh needs that. `encode_…` and `decode_…` are the bytes of one message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import Final

from wireguard_mesh.netlink.codec import (
    attribute,
    attributes,
    nested,
    read_text,
    read_u32,
    text,
    u32,
)

Address = IPv4Address | IPv6Address
InterfaceAddress = IPv4Interface | IPv6Interface
Prefix = IPv4Network | IPv6Network

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_LOWER_UP: Final = 0x10000
IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x08, 0x20, 0x40
RT_TABLE_MAIN: Final = 254
RT_TABLE_UNSPEC: Final = 0
RTN_UNICAST: Final = 1
RTPROT_UNSPEC: Final = 0  # when deleting: of any origin
RTPROT_BOOT: Final = 3  # as `ip route add` has it
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
RT_SCOPE_NOWHERE: Final = 255  # when deleting: of any scope
RTM_F_CLONED: Final = 0x200
FR_ACT_TO_TBL: Final = 1
FIB_RULE_INVERT: Final = 0x2

_IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 4, 10, 18, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_RTA_DST, _RTA_OIF, _RTA_METRICS, _RTA_TABLE, _RTA_MARK, _RTAX_MTU = 1, 4, 8, 15, 16, 2
_FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_FWMASK = 6, 10, 14, 15, 16
_FWMASK_ALL: Final = 0xFFFFFFFF
_NOT_SUPPRESSED: Final = 0xFFFFFFFF

_LINK: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS: Final = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags
_RULE: Final = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, reserved, reserved, action, flags
_ANYWHERE: Final[dict[int, Prefix]] = {AF_INET: IPv4Network("0.0.0.0/0"), AF_INET6: IPv6Network("::/0")}


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; `kind` is its driver's word ("wireguard", "bridge"), empty for hardware."""

    index: int
    name: str
    mtu: int
    flags: int
    kind: str = ""

    @property
    def is_up(self) -> bool:
        """Whether it is set up, and has its carrier."""
        return bool(self.flags & IFF_UP and self.flags & IFF_LOWER_UP)


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address of the link with this index; `flags` as IFA_F_…"""

    index: int
    interface: InterfaceAddress
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """A route; `link` is the index of the interface that it leaves by, 0 if it names none or several."""

    destination: Prefix
    table: int = RT_TABLE_MAIN
    link: int = 0
    kind: int = RTN_UNICAST
    mtu: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule that looks up `table`: for packets with (`invert`: without) `fwmark`, if that is given.

    `suppress_prefixlength`: ignore what is found if its prefix is not longer than this.
    """

    family: int
    priority: int
    table: int
    fwmark: int | None = None
    invert: bool = False
    suppress_prefixlength: int | None = None


def family_of(value: Address | InterfaceAddress | Prefix) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if value.version == 4 else AF_INET6


def decode_link(payload: bytes) -> Link:
    """An `ifinfomsg` with its attributes."""
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    found = dict(attributes(payload, _LINK.size))
    details = dict(attributes(found.get(_IFLA_LINKINFO, b"")))
    return Link(
        index=index,
        name=read_text(found.get(_IFLA_IFNAME, b"")),
        mtu=read_u32(found[_IFLA_MTU]) if _IFLA_MTU in found else 0,
        flags=flags,
        kind=read_text(details.get(_IFLA_INFO_KIND, b"")),
    )


def decode_address(payload: bytes) -> LinkAddress | None:
    """An `ifaddrmsg`; None if it is of another family."""
    family, length, flags, _, index = _ADDRESS.unpack_from(payload)
    found = dict(attributes(payload, _ADDRESS.size))
    # On a point-to-point link IFA_ADDRESS is the other end's, and IFA_LOCAL ours; IPv6 has IFA_ADDRESS alone.
    raw = found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS))
    if family not in _ANYWHERE or raw is None:
        return None
    if _IFA_FLAGS in found:
        flags = read_u32(found[_IFA_FLAGS])
    return LinkAddress(index, ip_interface((raw, length)), flags)


def decode_route(payload: bytes) -> Route | None:
    """An `rtmsg`; None if it is of another family."""
    family, length, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(payload)
    if family not in _ANYWHERE:
        return None
    found = dict(attributes(payload, _ROUTE.size))
    metrics = dict(attributes(found.get(_RTA_METRICS, b"")))
    return Route(
        destination=ip_network((found[_RTA_DST], length)) if _RTA_DST in found else _ANYWHERE[family],
        table=read_u32(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
        link=read_u32(found[_RTA_OIF]) if _RTA_OIF in found else 0,
        kind=kind,
        mtu=read_u32(metrics[_RTAX_MTU]) if _RTAX_MTU in metrics else 0,
        flags=flags,
    )


def decode_rule(payload: bytes) -> Rule | None:
    """A `fib_rule_hdr`; None if it is of another family or does not look up a table."""
    family, _, _, _, table, _, _, action, flags = _RULE.unpack_from(payload)
    if family not in _ANYWHERE or action != FR_ACT_TO_TBL:
        return None
    found = dict(attributes(payload, _RULE.size))
    suppressed = read_u32(found[_FRA_SUPPRESS_PREFIXLEN]) if _FRA_SUPPRESS_PREFIXLEN in found else _NOT_SUPPRESSED
    return Rule(
        family=family,
        priority=read_u32(found[_FRA_PRIORITY]) if _FRA_PRIORITY in found else 0,
        table=read_u32(found[_FRA_TABLE]) if _FRA_TABLE in found else table,
        fwmark=read_u32(found[_FRA_FWMARK]) if _FRA_FWMARK in found else None,
        invert=bool(flags & FIB_RULE_INVERT),
        suppress_prefixlength=None if suppressed == _NOT_SUPPRESSED else suppressed,
    )


def encode_address(address: LinkAddress) -> bytes:
    """An `ifaddrmsg` to add or delete an address."""
    value, family = address.interface, family_of(address.interface)
    header = _ADDRESS.pack(family, value.network.prefixlen, 0, RT_SCOPE_UNIVERSE, address.index)
    return header + attribute(_IFA_LOCAL, value.ip.packed) + attribute(_IFA_ADDRESS, value.ip.packed)


def encode_route(route: Route, protocol: int, scope: int) -> bytes:
    """An `rtmsg` to add or delete a route; `protocol` says who made it."""
    prefix, family = route.destination, family_of(route.destination)
    header = _ROUTE.pack(family, prefix.prefixlen, 0, 0, RT_TABLE_UNSPEC, protocol, scope, route.kind, 0)
    parts = [u32(_RTA_TABLE, route.table), u32(_RTA_OIF, route.link)]
    if prefix.prefixlen:
        parts.append(attribute(_RTA_DST, prefix.network_address.packed))
    return header + b"".join(parts)


def encode_rule(rule: Rule) -> bytes:
    """A `fib_rule_hdr` to add or delete a rule."""
    flags = FIB_RULE_INVERT if rule.invert else 0
    header = _RULE.pack(rule.family, 0, 0, 0, RT_TABLE_UNSPEC, 0, 0, FR_ACT_TO_TBL, flags)
    parts = [u32(_FRA_PRIORITY, rule.priority), u32(_FRA_TABLE, rule.table)]
    if rule.fwmark is not None:
        parts += [u32(_FRA_FWMARK, rule.fwmark), u32(_FRA_FWMASK, _FWMASK_ALL)]
    if rule.suppress_prefixlength is not None:
        parts.append(u32(_FRA_SUPPRESS_PREFIXLEN, rule.suppress_prefixlength))
    return header + b"".join(parts)


def encode_link(index: int = 0, flags: int = 0, mtu: int | None = None, name: str = "", kind: str = "") -> bytes:
    """An `ifinfomsg` to find, make or change a link; `flags` are those to set."""
    parts = []
    if name:
        parts.append(text(_IFLA_IFNAME, name))
    if mtu is not None:
        parts.append(u32(_IFLA_MTU, mtu))
    if kind:
        parts.append(nested(_IFLA_LINKINFO, [text(_IFLA_INFO_KIND, kind)]))
    return _LINK.pack(AF_UNSPEC, 0, index, flags, flags) + b"".join(parts)


def encode_address_query() -> bytes:
    """Asks for all addresses."""
    return _ADDRESS.pack(AF_UNSPEC, 0, 0, 0, 0)


def encode_route_query(family: int, table: int) -> bytes:
    """Asks for one table of one family."""
    return _ROUTE.pack(family, 0, 0, 0, RT_TABLE_UNSPEC, 0, 0, 0, 0) + u32(_RTA_TABLE, table)


def encode_lookup(destination: Address, fwmark: int) -> bytes:
    """Asks for the route of a packet to `destination` with this mark."""
    header = _ROUTE.pack(family_of(destination), destination.max_prefixlen, 0, 0, RT_TABLE_UNSPEC, 0, 0, 0, 0)
    mark = u32(_RTA_MARK, fwmark) if fwmark else b""
    return header + attribute(_RTA_DST, destination.packed) + mark


def encode_rule_query(family: int) -> bytes:
    """Asks for the rules of one family."""
    return _RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)

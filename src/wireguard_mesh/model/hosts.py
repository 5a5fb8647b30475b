"""The host's side of a tunnel: addresses, routes, exit routing, forwarding. What the system backends make so."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface

import msgspec

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix

InterfaceAddress = IPv4Interface | IPv6Interface


class ExitRouting(msgspec.Struct, frozen=True, kw_only=True):
    """Send everything but the local networks through the tunnel, as wg-quick's policy routing does it.

    Packets that carry `fwmark` (WireGuard's own, and the agent's to its server) keep to the main table; all else looks
    up `table`, which holds the default routes of `families` (4, 6) by the interface.
    """

    fwmark: int
    table: int
    families: frozenset[int]


class Forwarding(msgspec.Struct, frozen=True, kw_only=True):
    """Carry the internet traffic of `sources` (the mesh's prefixes): forward it, and masquerade what leaves."""

    sources: frozenset[Prefix]


class WantedHost(msgspec.Struct, frozen=True, kw_only=True):
    """All that the host shall be for one tunnel; what is not in it and was once set by us is undone."""

    interface: InterfaceName
    mtu: int
    addresses: frozenset[InterfaceAddress]
    routes: frozenset[Prefix]
    exit_routing: ExitRouting | None = None
    forwarding: Forwarding | None = None


class LocalAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address of this machine where others may reach it: its link's name, MTU in bytes, and prefix."""

    interface: InterfaceName
    address: Address
    prefix: Prefix
    mtu: int

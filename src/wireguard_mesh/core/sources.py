"""Where a datagram came from: a UDP address as the socket gives it, or a WebSocket that carries datagrams.

The cores of rendezvous and relay take a source as it is: something that can be compared and sent to. Here is the little
that they must know of it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from wireguard_mesh.core.ratelimit import source_of
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey

UdpSource = tuple[str, int] | tuple[str, int, int, int]
"""What `socket.recvfrom` gives: address and port, of IPv6 the flow and the interface too."""


@dataclass(frozen=True, slots=True)
class WebSource:
    """One WebSocket, by a number that no other has had. `public_key` signed the request that opened it."""

    number: int
    public_key: PublicKey


Source = UdpSource | WebSource

_SEPARATOR: Final = b" "


def subscriber(source: Source) -> Hashable:
    """What limits go by: the IPv4 address, the /64 of the IPv6 address, or who opened the WebSocket."""
    if isinstance(source, WebSource):
        return source.public_key
    return source_of(ip_address(source[0].partition("%")[0]))


def source_bytes(source: Source) -> bytes:
    """Address and port as bytes that a cookie is made of (WireGuard paper, section 5.4.7)."""
    if isinstance(source, WebSource):
        return b"web %d" % source.number
    return b"%s %d" % (source[0].encode(), source[1])


def endpoint_of(source: Source) -> Endpoint | None:
    """The UDP endpoint that others may try; None for a WebSocket, and for an address that means nothing elsewhere."""
    if isinstance(source, WebSource):
        return None
    address = ip_address(source[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    try:
        return Endpoint(address, source[1])
    except InvalidValue:
        return None

"""UDP endpoints: where WireGuard packets for a peer are sent."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from wireguard_mesh.model.errors import InvalidValue

MAX_PORT: Final = 65535
_EXAMPLES: Final = "write it as 192.0.2.1:51820 or [2001:db8::1]:51820"

Address = IPv4Address | IPv6Address


class Endpoint:
    """One address and UDP port, IPv4 or IPv6. Text form `192.0.2.1:51820`, `[2001:db8::1]:51820`.

    A class by hand, not a dataclass, so that it travels as its text and not as an object.
    """

    __slots__ = ("address", "port")
    address: Address
    port: int

    def __init__(self, address: Address, port: int) -> None:
        if not 1 <= port <= MAX_PORT:
            raise InvalidValue(f"an endpoint's port is 1 to {MAX_PORT}", _EXAMPLES)
        if address.is_unspecified or address.is_multicast or _leads_nowhere(address):
            raise InvalidValue("that is no address of one machine", _EXAMPLES)
        if isinstance(address, IPv6Address) and address.scope_id:
            raise InvalidValue("an endpoint names no interface: link-local addresses mean nothing elsewhere", _EXAMPLES)
        object.__setattr__(self, "address", address)
        object.__setattr__(self, "port", port)

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `ADDRESS:PORT`, IPv6 in brackets. Raises `InvalidValue`."""
        host, separator, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not separator or not (port.isascii() and port.isdigit() and len(port) <= len(str(MAX_PORT))):
            raise InvalidValue("an endpoint is an address and a port", _EXAMPLES)
        try:
            address = ip_address(host[1:-1] if bracketed else host)
        except ValueError:
            raise InvalidValue("an endpoint starts with an IP address", _EXAMPLES) from None
        if bracketed != isinstance(address, IPv6Address):
            raise InvalidValue("an endpoint has its address in brackets if it is IPv6, and only then", _EXAMPLES)
        return cls(address, int(port))

    def __str__(self) -> str:
        host = f"[{self.address}]" if isinstance(self.address, IPv6Address) else str(self.address)
        return f"{host}:{self.port}"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("endpoints are immutable")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Endpoint):
            return NotImplemented
        return self.port == other.port and self.address == other.address

    def __hash__(self) -> int:
        return hash((self.address, self.port))

    def __repr__(self) -> str:
        return f"Endpoint({self})"


def _leads_nowhere(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped is not None  # to be written as the IPv4 address that it is
    return address.is_reserved  # 240.0.0.0/4 with 255.255.255.255; RFC 1112 section 4

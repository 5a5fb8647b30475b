"""By which addresses others reach a relay: as its administrator says, else those of this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import msgspec

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import InvalidValue

# RFC 5737 and RFC 3849: no packet is sent to them, the kernel only chooses the source that it would use.
_ANYWHERE: Final = (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
_PORT: Final = 9


class Addresses(msgspec.Struct, frozen=True):
    """What was said, at most one of each family; nothing said: what is found."""

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None

    @property
    def are_given(self) -> bool:
        """Whether they were said."""
        return self.ipv4 is not None or self.ipv6 is not None

    @classmethod
    def parse(cls, hosts: Sequence[str]) -> Addresses:
        """Of addresses and names; a name stands for the first address of each family that it has now.

        Raises `InvalidValue` for a name that has none, and for two of one family.
        """
        found = [_resolved(host) for host in hosts]
        ipv4 = [one.ipv4 for one in found if one.ipv4 is not None]
        ipv6 = [one.ipv6 for one in found if one.ipv6 is not None]
        if len(ipv4) > 1 or len(ipv6) > 1:
            raise InvalidValue("a relay has one IPv4 and one IPv6 address at most", "give -address once for each")
        return cls(ipv4[0] if ipv4 else None, ipv6[0] if ipv6 else None)

    def find(self, server: Sequence[Address]) -> Addresses:
        """These, or those by which this machine speaks to the server, and to the rest of the world.

        Raises `InvalidValue` if it has none.
        """
        if self.are_given:
            return self
        sources = [source for target in (*server, *_ANYWHERE) if (source := _source_towards(target)) is not None]
        usable = [source for source in sources if not (source.is_loopback or source.is_link_local)] or sources
        ipv4 = next((source for source in usable if isinstance(source, IPv4Address)), None)
        ipv6 = next((source for source in usable if isinstance(source, IPv6Address)), None)
        if ipv4 is None and ipv6 is None:
            raise InvalidValue("this machine has no address by which others could reach a relay", "give -address")
        return Addresses(ipv4, ipv6)

    def __str__(self) -> str:
        return ", ".join(str(address) for address in (self.ipv4, self.ipv6) if address is not None)


def _resolved(host: str) -> Addresses:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise InvalidValue(f"-address {host!r} is no address, and no name that has one") from None
    found = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries]
    ipv4 = next((address for address in found if isinstance(address, IPv4Address)), None)
    ipv6 = next((address for address in found if isinstance(address, IPv6Address)), None)
    return Addresses(ipv4, ipv6)


def _source_towards(target: Address) -> Address | None:
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(target), _PORT))
        return ip_address(str(probe.getsockname()[0]).partition("%")[0])
    return None

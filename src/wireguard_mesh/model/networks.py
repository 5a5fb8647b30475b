"""The address ranges of a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from wireguard_mesh.model.errors import InvalidValue

Prefix = IPv4Network | IPv6Network

DEFAULT_IPV4_NETWORK: Final = IPv4Network("10.100.0.0/16")

# RFC 1918, and the shared address space of RFC 6598 that other meshes use.
PRIVATE_IPV4: Final = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
MAX_IPV4_PREFIX_LENGTH: Final = 30  # two hosts beside the network and the broadcast address
ULA: Final = IPv6Network("fd00::/8")  # RFC 4193 section 3.1, with L = 1
ULA_PREFIX_LENGTH: Final = 48
SUBNET_PREFIX_LENGTH: Final = 64
GLOBAL_ID_LENGTH: Final = 5


def parse_ipv4_network(text: str) -> IPv4Network:
    """A private IPv4 range for a mesh, `10.100.0.0/16`. Raises `InvalidValue`."""
    example = f"for example {DEFAULT_IPV4_NETWORK}"
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise InvalidValue(f"{text!r} is no network in CIDR notation", example) from None
    if not isinstance(network, IPv4Network):
        raise InvalidValue("the mesh's own network is IPv4; it gets its IPv6 range by itself", example)
    if "/" not in text:
        raise InvalidValue(f"{text!r} lacks its prefix length", example)
    if IPv4Address(text.partition("/")[0]) != network.network_address:
        raise InvalidValue(f"{text!r} has bits set beyond its prefix", f"you may have meant {network}")
    if network.prefixlen > MAX_IPV4_PREFIX_LENGTH:
        raise InvalidValue(f"{network} has no room for two peers", example)
    if not any(network.subnet_of(private) for private in PRIVATE_IPV4):
        raise InvalidValue(
            f"{network} is not private", f"choose one of {', '.join(map(str, PRIVATE_IPV4))} or a part of it"
        )
    return network


def ula_prefix(random: bytes) -> IPv6Network:
    """A unique local /48 (RFC 4193) from 5 random bytes."""
    if len(random) != GLOBAL_ID_LENGTH:
        raise InvalidValue(f"a ULA prefix is made of {GLOBAL_ID_LENGTH} random bytes, not {len(random)}")
    value = int(ULA.network_address) | int.from_bytes(random, "big") << 80
    return IPv6Network((value, ULA_PREFIX_LENGTH))


@dataclass(frozen=True, slots=True)
class MeshNetwork:
    """A mesh's ranges: `ipv4` of any private size, `ipv6` a /64. Peer number n has host part n in both."""

    ipv4: IPv4Network
    ipv6: IPv6Network

    @classmethod
    def within(cls, ipv4: IPv4Network, ula: IPv6Network) -> MeshNetwork:
        """The mesh's ranges out of its ULA /48: subnet 0 of it."""
        return cls(ipv4, next(ula.subnets(new_prefix=SUBNET_PREFIX_LENGTH)))

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Both ranges: all that the tunnel is the way to."""
        return self.ipv4, self.ipv6

    @property
    def capacity(self) -> int:
        """How many peers fit: host numbers 1 to `capacity`."""
        return self.ipv4.num_addresses - 2

    def ipv4_address(self, number: int) -> IPv4Address:
        """The IPv4 address of host `number`, 1 to `capacity`."""
        self._check(number)
        return self.ipv4.network_address + number

    def ipv6_address(self, number: int) -> IPv6Address:
        """The IPv6 address of host `number`, 1 to `capacity`."""
        self._check(number)
        return self.ipv6.network_address + number

    def number_of(self, address: IPv4Address) -> int:
        """The host number of an address of this mesh. Raises `InvalidValue` for any other address."""
        number = int(address) - int(self.ipv4.network_address)
        if not 1 <= number <= self.capacity:
            raise InvalidValue(f"{address} is no host address of {self.ipv4}")
        return number

    def _check(self, number: int) -> None:
        if not 1 <= number <= self.capacity:
            raise InvalidValue(f"{self.ipv4} has hosts 1 to {self.capacity}, not {number}")

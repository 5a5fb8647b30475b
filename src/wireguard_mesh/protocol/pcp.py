"""Asking a router to forward a UDP port: PCP (RFC 6887) and NAT-PMP (RFC 6886), bytes ↔ values. Pure.

Both are spoken with the gateway's UDP port 5351, numbers in network order. A router that knows NAT-PMP only answers a
PCP request with NAT-PMP's "unsupported version". Only what a mapping needs is here: PCP's `MAP` for UDP over IPv4.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, Unavailable

PORT: Final = 5351
NONCE_LENGTH: Final = 12
MAX_SIZE: Final = 1100  # bytes of a PCP message, RFC 6887 section 7

_PCP_VERSION: Final = 2
_PCP_MAP: Final = 1
_RESPONSE_BIT: Final = 0x80
_UDP: Final = 17  # IANA
_PCP_REQUEST: Final = Struct("!BBHI16s12sB3xHH16s")  # sections 7.1 and 11.1
_PCP_RESPONSE: Final = Struct("!BBBBII12x12sB3xHH16s")  # sections 7.2 and 11.1
_PCP_HEADER_SIZE: Final = 24
_PCP_RESULTS: Final = {
    1: "it speaks another version",
    2: "it allows nobody to ask, or the port is somebody else's",
    3: "it found the request malformed",
    4: "it does not know such requests",
    7: "its own network has failed",
    8: "it has no room left",
    9: "it does not forward UDP",
    10: "this machine has asked for too much",
    11: "the port is taken",
    12: "another NAT is between it and this machine",
}

_PMP_VERSION: Final = 0
_PMP_ADDRESS: Final = 0
_PMP_MAP_UDP: Final = 1
_PMP_RESPONSE_OPCODE: Final = 128  # added to the request's
_PMP_ADDRESS_REQUEST: Final = bytes((_PMP_VERSION, _PMP_ADDRESS))
_PMP_ADDRESS_RESPONSE: Final = Struct("!BBHI4s")  # section 3.2
_PMP_MAP_REQUEST: Final = Struct("!BBHHHI")  # section 3.3
_PMP_MAP_RESPONSE: Final = Struct("!BBHIHHI")
_PMP_RESULT: Final = Struct("!BBH")
_PMP_UNSUPPORTED_VERSION: Final = 1
_PMP_RESULTS: Final = {
    1: "it speaks another version",
    2: "it allows nobody to ask",
    3: "its own network has failed",
    4: "it has no room left",
    5: "it does not know such requests",
}


class MappingRefused(Unavailable):
    """The router understood, and forwards nothing."""

    code = "mapping_refused"


class Mapped(msgspec.Struct, frozen=True):
    """What a router forwards: `port` of its own, for `lifetime` seconds. Its `address` 0.0.0.0: it does not know it."""

    address: IPv4Address
    port: int
    lifetime: int

    def endpoint(self) -> Endpoint:
        """Where others reach it. Raises `InvalidValue` if that can be no address of a machine."""
        if self.address.is_loopback or self.address.is_link_local:
            raise InvalidValue("the router claims an address that nobody reaches")
        return Endpoint(self.address, self.port)


def pcp_request(nonce: bytes, client: IPv4Address, port: int, external_port: int, lifetime: int) -> bytes:
    """Ask to forward to `port` of `client`, which is what the packet comes from. `external_port`: liked best, 0: any.

    The same `nonce` of 12 bytes goes into every request for a mapping, or the router takes it for somebody else's.
    `lifetime` 0: forward no longer.
    """
    wanted = _v4_mapped(IPv4Address(0))
    return _PCP_REQUEST.pack(
        _PCP_VERSION, _PCP_MAP, 0, lifetime, _v4_mapped(client), nonce, _UDP, port, external_port, wanted
    )


def read_pcp(datagram: bytes, nonce: bytes, port: int) -> Mapped | None:
    """The answer to such a request; None if it is none, or another's. Raises `MappingRefused`."""
    if len(datagram) < _PCP_HEADER_SIZE or datagram[0] != _PCP_VERSION or datagram[1] != _RESPONSE_BIT | _PCP_MAP:
        return None
    padded = datagram.ljust(_PCP_RESPONSE.size, b"\0")
    _, _, _, result, lifetime, _, its_nonce, protocol, its_port, external_port, address = _PCP_RESPONSE.unpack_from(
        padded
    )
    is_ours = (its_nonce, protocol, its_port) == (nonce, _UDP, port)
    if result and (is_ours or len(datagram) == _PCP_HEADER_SIZE):
        raise MappingRefused(f"the router refused: {_PCP_RESULTS.get(result, f'PCP result {result}')}")
    external = IPv6Address(address).ipv4_mapped
    if not is_ours or external is None:
        return None
    return Mapped(external, external_port, lifetime)


def is_without_pcp(datagram: bytes) -> bool:
    """Whether the answer to a PCP request says that only NAT-PMP is spoken here."""
    if len(datagram) < _PMP_RESULT.size:
        return False
    version, opcode, result = _PMP_RESULT.unpack_from(datagram)
    return bool(version == _PMP_VERSION and opcode >= _PMP_RESPONSE_OPCODE and result == _PMP_UNSUPPORTED_VERSION)


def pmp_address_request() -> bytes:
    """Ask a router for its outer address."""
    return _PMP_ADDRESS_REQUEST


def read_pmp_address(datagram: bytes) -> IPv4Address | None:
    """None if that is no answer to it. Raises `MappingRefused`."""
    if not _is_pmp(datagram, _PMP_ADDRESS, _PMP_ADDRESS_RESPONSE.size):
        return None
    return IPv4Address(_PMP_ADDRESS_RESPONSE.unpack_from(datagram)[4])


def pmp_map_request(port: int, external_port: int, lifetime: int) -> bytes:
    """Ask to forward to `port` of whoever sends this. `lifetime` 0, with `external_port` 0: forward no longer."""
    return _PMP_MAP_REQUEST.pack(_PMP_VERSION, _PMP_MAP_UDP, 0, port, external_port, lifetime)


def read_pmp_map(datagram: bytes, port: int) -> tuple[int, int] | None:
    """External port and lifetime; None if that is no answer, or one for another port. Raises `MappingRefused`."""
    if not _is_pmp(datagram, _PMP_MAP_UDP, _PMP_MAP_RESPONSE.size):
        return None
    _, _, _, _, its_port, external_port, lifetime = _PMP_MAP_RESPONSE.unpack_from(datagram)
    return (external_port, lifetime) if its_port == port else None


def _is_pmp(datagram: bytes, opcode: int, size: int) -> bool:
    if len(datagram) < _PMP_RESULT.size:
        return False
    version, its_opcode, result = _PMP_RESULT.unpack_from(datagram)
    if version != _PMP_VERSION or its_opcode != _PMP_RESPONSE_OPCODE + opcode:
        return False
    if result:
        raise MappingRefused(f"the router refused: {_PMP_RESULTS.get(result, f'NAT-PMP result {result}')}")
    return len(datagram) >= size


def _v4_mapped(address: IPv4Address) -> bytes:
    return bytes(10) + b"\xff\xff" + address.packed

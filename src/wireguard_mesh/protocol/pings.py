"""Ping and pong between a peer and a relay, beside WireGuard's messages on the same UDP port: bytes ↔ values. Pure.

WireGuard tells nobody how long a round trip takes, and a relay must be measured before a pair is put on it. A ping is
60 bytes, its pong 46, numbers little-endian:

    ping = 5 (u32), public key of the peer (32), time (u64), mac (16)
    pong = 6 (u32), time of the ping (u64), address that the ping came from (16), its port (u16), mac (16)

The time is in microseconds since 1970 by the relay's clock, and grows with each ping of a peer to a vantage point: a
relay answers none that is not newer than the last one, or is further from its clock than `MAX_SKEW_SECONDS`. The mac is
BLAKE2s with a key that only the two have: made of what X25519 makes of both static keys. Ping and pong have one each.
An IPv4 address is written as IPv6 maps it (RFC 4291 section 2.5.5.2); address and port are zero if the ping came over
TCP.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s
from ipaddress import IPv6Address
from struct import Struct
from typing import Final, Self

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol.wireguard import MAC_LENGTH, Datagram

PING: Final = 5  # WireGuard's own types end at 4
PONG: Final = 6
PING_SIZE: Final = 60
PONG_SIZE: Final = 46
MAX_SKEW_SECONDS: Final = 90

_NUMBER: Final = Struct("<I")
_PING_BODY: Final = Struct("<I32sQ")
_PONG_BODY: Final = Struct("<IQ16sH")
_PING_LABEL: Final = b"wireguard-mesh ping"
_PONG_LABEL: Final = b"wireguard-mesh pong"
_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"
_NO_ADDRESS: Final = bytes(16)


def is_ping(datagram: Datagram) -> bool:
    """Whether it is a ping by type and size."""
    return len(datagram) == PING_SIZE and _NUMBER.unpack_from(datagram)[0] == PING


def is_pong(datagram: Datagram) -> bool:
    """Whether it is a pong by type and size."""
    return len(datagram) == PONG_SIZE and _NUMBER.unpack_from(datagram)[0] == PONG


class PingKeys:
    """What one peer and one vantage point sign with. Secret."""

    __slots__ = ("_ping", "_pong")

    def __init__(self, secret: bytes) -> None:
        """`secret`: `PrivateKey.exchange` of one's static key with the other's."""
        self._ping = blake2s(_PING_LABEL, key=secret).digest()
        self._pong = blake2s(_PONG_LABEL, key=secret).digest()

    def sign_ping(self, body: bytes) -> bytes:
        """A ping's or its check's mac."""
        return blake2s(body, digest_size=MAC_LENGTH, key=self._ping).digest()

    def sign_pong(self, body: bytes) -> bytes:
        """A pong's or its check's mac."""
        return blake2s(body, digest_size=MAC_LENGTH, key=self._pong).digest()


class Ping(msgspec.Struct, frozen=True):
    """`public_key`: the 32 bytes of who claims to ask. `microseconds`: when, by the relay's clock."""

    public_key: bytes
    microseconds: int

    @classmethod
    def parse(cls, datagram: Datagram) -> Self:
        """What a ping claims; ask `is_signed` before anything is believed. Raises `InvalidValue` if it is none."""
        if not is_ping(datagram):
            raise InvalidValue("that is no ping")
        _, public_key, microseconds = _PING_BODY.unpack_from(datagram)
        return cls(public_key, microseconds)

    def build(self, keys: PingKeys) -> bytes:
        """60 bytes."""
        body = _PING_BODY.pack(PING, self.public_key, self.microseconds)
        return body + keys.sign_ping(body)

    @staticmethod
    def is_signed(datagram: Datagram, keys: PingKeys) -> bool:
        """Whether the peer that these keys are shared with made the ping."""
        return hmac.compare_digest(keys.sign_ping(bytes(datagram[:-MAC_LENGTH])), datagram[-MAC_LENGTH:])


class Pong(msgspec.Struct, frozen=True):
    """`microseconds`: of the ping that it answers. `mapped`: from where that came; None: over TCP."""

    microseconds: int
    mapped: Endpoint | None

    @classmethod
    def parse(cls, datagram: Datagram, keys: PingKeys) -> Self:
        """Raises `InvalidValue` if that is no pong, or not of the relay that these keys are shared with."""
        if not is_pong(datagram):
            raise InvalidValue("that is no pong")
        if not hmac.compare_digest(keys.sign_pong(bytes(datagram[:-MAC_LENGTH])), datagram[-MAC_LENGTH:]):
            raise InvalidValue("that pong is not of the relay that was asked")
        _, microseconds, address, port = _PONG_BODY.unpack_from(datagram)
        return cls(microseconds, _endpoint(address, port))

    def build(self, keys: PingKeys) -> bytes:
        """46 bytes."""
        address, port = (_NO_ADDRESS, 0) if self.mapped is None else (_packed(self.mapped), self.mapped.port)
        body = _PONG_BODY.pack(PONG, self.microseconds, address, port)
        return body + keys.sign_pong(body)


def _packed(endpoint: Endpoint) -> bytes:
    if isinstance(endpoint.address, IPv6Address):
        return endpoint.address.packed
    return _MAPPED_PREFIX + endpoint.address.packed


def _endpoint(packed: bytes, port: int) -> Endpoint | None:
    if port == 0:
        return None
    address = IPv6Address(packed)
    return Endpoint(address.ipv4_mapped or address, port)

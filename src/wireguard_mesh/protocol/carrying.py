"""Datagrams in binary messages of a WebSocket (RFC 6455), between an agent whose UDP is blocked and a relay.

A message holds one datagram or several, each behind its length: u16, big endian. So many go out in one write.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from wireguard_mesh.model.errors import InvalidValue

TARGET: Final = "/v1/relay"
"""Where the server is asked for it, signed, by `GET` with an upgrade to `websocket`."""

MAX_DATAGRAM: Final = 65_535 - 8  # bytes; RFC 768: a length of 16 bits, header included
MAX_MESSAGE: Final = 256 * 1024  # bytes; neither end sends more at once
MAX_DATAGRAMS: Final = MAX_MESSAGE // 32  # of one message; WireGuard's shortest has 32 bytes
_LENGTH: Final = Struct("!H")


def pack(datagrams: Iterable[bytes]) -> bytes:
    """One message. The caller keeps it within `MAX_MESSAGE`."""
    pieces: list[bytes] = []
    for datagram in datagrams:
        pieces.append(_LENGTH.pack(len(datagram)))
        pieces.append(datagram)
    return b"".join(pieces)


def unpack(message: bytes) -> list[bytes]:
    """The datagrams of a message. Raises `InvalidValue` if it is none."""
    datagrams: list[bytes] = []
    position, end = 0, len(message)
    while position < end:
        if len(datagrams) == MAX_DATAGRAMS:
            raise InvalidValue("a message of a carrier holds too many datagrams")
        begin = position + _LENGTH.size
        if begin > end:
            raise InvalidValue("a message of a carrier ends within a length")
        position = begin + _LENGTH.unpack_from(message, begin - _LENGTH.size)[0]
        if position > end:
            raise InvalidValue("a message of a carrier ends within a datagram")
        datagrams.append(message[begin:position])
    return datagrams

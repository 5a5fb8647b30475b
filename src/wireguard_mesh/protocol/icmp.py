"""ICMP echo, by which one machine asks another whether it is there (RFC 792; RFC 4443, section 4). Pure."""

from __future__ import annotations

from struct import Struct
from typing import Final

HEADER: Final = Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
ECHO_REQUEST: Final = {4: 8, 6: 128}  # type by IP version
ECHO_REPLY: Final = {4: 0, 6: 129}
_IPV4_HEADER: Final = 20  # bytes at least; RFC 791, section 3.1
_WORD: Final = 4  # bytes that an IPv4 header's length is counted in


def echo_request(version: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """The message. `version`: 4 or 6. In IPv6 the system must fill in the checksum, which covers addresses too."""
    kind = ECHO_REQUEST[version]
    unsummed = HEADER.pack(kind, 0, 0, identifier, sequence) + payload
    if version == 6:
        return unsummed
    return HEADER.pack(kind, 0, checksum(unsummed), identifier, sequence) + payload


def is_reply(version: int, message: bytes, sequence: int, payload: bytes) -> bool:
    """Whether it answers the request with that sequence number and payload. Identifiers are not compared: a socket for
    unprivileged users has one of the system's choice."""
    if len(message) != HEADER.size + len(payload):
        return False
    kind, code, _, _, number = HEADER.unpack_from(message)
    is_echo: bool = (kind, code, number) == (ECHO_REPLY[version], 0, sequence)
    return is_echo and message[HEADER.size :] == payload


def without_ipv4_header(packet: bytes) -> bytes:
    """What a raw socket for IPv4 receives, without the header that it comes with; nothing if that is cut off."""
    if len(packet) < _IPV4_HEADER:
        return b""
    return packet[(packet[0] & 0x0F) * _WORD :]


def checksum(message: bytes) -> int:
    """The ones' complement sum of its 16-bit words (RFC 1071)."""
    padded = message + bytes(len(message) % 2)
    total = sum(int.from_bytes(padded[index : index + 2], "big") for index in range(0, len(padded), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

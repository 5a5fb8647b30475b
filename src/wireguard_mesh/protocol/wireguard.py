"""WireGuard's four messages on the wire (WireGuard paper, section 5.4): sizes, fields, bytes ↔ values. No cryptography.

Every number is little-endian. A message starts with its type in one byte and three zero bytes, read together as one
number, so that anything but zeros there is no message.

A relay looks at millions of these: type and indexes are read from `bytes` or `memoryview` without a copy or a value.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, Self

import msgspec

from wireguard_mesh.model.errors import InvalidValue

Datagram = bytes | bytearray | memoryview

MAC_LENGTH: Final = 16
TAG_LENGTH: Final = 16  # Poly1305, RFC 8439
COOKIE_NONCE_LENGTH: Final = 24  # XChaCha20
INITIATION_SIZE: Final = 148
RESPONSE_SIZE: Final = 92
COOKIE_REPLY_SIZE: Final = 64
TRANSPORT_HEADER_SIZE: Final = 16
KEEPALIVE_SIZE: Final = TRANSPORT_HEADER_SIZE + TAG_LENGTH
"""A transport message that carries no packet (section 6.5). None is shorter."""

MACS_LENGTH: Final = 2 * MAC_LENGTH
"""Initiation and response end with mac1, which authenticates all before it, and mac2, which all before that."""

_NUMBER: Final = Struct("<I")
_INITIATION: Final = Struct("<II32s48s28s16s16s")
_RESPONSE: Final = Struct("<III32s16s16s16s")
_COOKIE_REPLY: Final = Struct("<II24s32s")
_TRANSPORT_HEADER: Final = Struct("<IIQ")


class MessageType(IntEnum):
    """What a datagram says it is."""

    INITIATION = 1
    RESPONSE = 2
    COOKIE_REPLY = 3
    TRANSPORT = 4


_TRANSPORT: Final = MessageType.TRANSPORT.value
_FIXED: Final[dict[tuple[int, int], MessageType]] = {
    (MessageType.INITIATION.value, INITIATION_SIZE): MessageType.INITIATION,
    (MessageType.RESPONSE.value, RESPONSE_SIZE): MessageType.RESPONSE,
    (MessageType.COOKIE_REPLY.value, COOKIE_REPLY_SIZE): MessageType.COOKIE_REPLY,
}


def message_type(datagram: Datagram) -> MessageType | None:
    """Which message it is, by type and size; None if it can be none of WireGuard's."""
    size = len(datagram)
    if size < KEEPALIVE_SIZE:
        return None
    number = _NUMBER.unpack_from(datagram)[0]
    if number == _TRANSPORT:  # nearly all are
        return MessageType.TRANSPORT
    return _FIXED.get((number, size))


def sender_index(datagram: Datagram) -> int:
    """The sender's index of an initiation or a response."""
    return int(_NUMBER.unpack_from(datagram, 4)[0])


def receiver_index(datagram: Datagram) -> int:
    """The receiver's index of a cookie reply or a transport message."""
    return int(_NUMBER.unpack_from(datagram, 4)[0])


def response_receiver_index(datagram: Datagram) -> int:
    """The receiver's index of a response, which has the sender's before it."""
    return int(_NUMBER.unpack_from(datagram, 8)[0])


def transport_header(datagram: Datagram) -> tuple[int, int]:
    """The receiver's index of a transport message, and its counter."""
    _, receiver, counter = _TRANSPORT_HEADER.unpack_from(datagram)
    return receiver, counter


class Initiation(msgspec.Struct, frozen=True):
    """Section 5.4.2, from initiator to responder. `sender`: the index that the initiator wants to be addressed by."""

    sender: int
    ephemeral: bytes
    encrypted_static: bytes
    encrypted_timestamp: bytes
    mac1: bytes
    mac2: bytes = bytes(MAC_LENGTH)

    @classmethod
    def parse(cls, datagram: Datagram) -> Self:
        """Raises `InvalidValue` if that is no initiation."""
        _expect(datagram, MessageType.INITIATION)
        return cls(*_INITIATION.unpack(datagram)[1:])

    def build(self) -> bytes:
        """148 bytes."""
        return _INITIATION.pack(MessageType.INITIATION, *msgspec.structs.astuple(self))


class Response(msgspec.Struct, frozen=True):
    """Section 5.4.3, from responder to initiator; `receiver` is the initiation's `sender`."""

    sender: int
    receiver: int
    ephemeral: bytes
    encrypted_nothing: bytes
    mac1: bytes
    mac2: bytes = bytes(MAC_LENGTH)

    @classmethod
    def parse(cls, datagram: Datagram) -> Self:
        """Raises `InvalidValue` if that is no response."""
        _expect(datagram, MessageType.RESPONSE)
        return cls(*_RESPONSE.unpack(datagram)[1:])

    def build(self) -> bytes:
        """92 bytes."""
        return _RESPONSE.pack(MessageType.RESPONSE, *msgspec.structs.astuple(self))


class CookieReply(msgspec.Struct, frozen=True):
    """Section 5.4.7, under load: `receiver` is the `sender` of the message that it answers."""

    receiver: int
    nonce: bytes
    encrypted_cookie: bytes

    @classmethod
    def parse(cls, datagram: Datagram) -> Self:
        """Raises `InvalidValue` if that is no cookie reply."""
        _expect(datagram, MessageType.COOKIE_REPLY)
        return cls(*_COOKIE_REPLY.unpack(datagram)[1:])

    def build(self) -> bytes:
        """64 bytes."""
        return _COOKIE_REPLY.pack(MessageType.COOKIE_REPLY, *msgspec.structs.astuple(self))


class Transport(msgspec.Struct, frozen=True):
    """Section 5.4.6: a packet, padded and encrypted with its tag; 16 bytes of tag alone are a keepalive."""

    receiver: int
    counter: int
    encrypted_packet: bytes

    @classmethod
    def parse(cls, datagram: Datagram) -> Self:
        """Raises `InvalidValue` if that is no transport message."""
        _expect(datagram, MessageType.TRANSPORT)
        receiver, counter = transport_header(datagram)
        return cls(receiver, counter, bytes(datagram[TRANSPORT_HEADER_SIZE:]))

    def build(self) -> bytes:
        """16 bytes and the encrypted packet."""
        return _TRANSPORT_HEADER.pack(MessageType.TRANSPORT, self.receiver, self.counter) + self.encrypted_packet


def _expect(datagram: Datagram, wanted: MessageType) -> None:
    if message_type(datagram) is not wanted:
        raise InvalidValue(f"that is no {wanted.name.lower().replace('_', ' ')} of WireGuard's")

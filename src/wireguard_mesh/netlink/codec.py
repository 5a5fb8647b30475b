"""Netlink messages and attributes as bytes (RFC 3549 section 2.2 and 2.3, linux/netlink.h). Pure.

All numbers are in the host's byte order; messages and attributes are padded to 4 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from wireguard_mesh.model.errors import InvalidValue

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

NLM_F_REQUEST: Final = 0x01
NLM_F_ACK: Final = 0x04
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLA_F_NESTED: Final = 0x8000
NLMSGERR_ATTR_MSG: Final = 1

MAX_ATTRIBUTE: Final = 0xFFFF
_TYPE_MASK: Final = 0x3FFF
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_U16: Final = struct.Struct("=H")
_U32: Final = struct.Struct("=I")

HEADER_LENGTH: Final = _HEADER.size


class Message(NamedTuple):
    """One netlink message: `kind` is nlmsg_type, `port` the port id of who caused it (0: the kernel)."""

    kind: int
    flags: int
    sequence: int
    port: int
    payload: bytes


def _padding(length: int) -> bytes:
    return bytes(-length % 4)


def encode_message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One message with its header; the kernel fills in the port."""
    return _HEADER.pack(HEADER_LENGTH + len(payload), kind, flags, sequence, 0) + payload


def decode_messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises `InvalidValue` for a length that cannot be."""
    offset, end = 0, len(datagram)
    while offset + HEADER_LENGTH <= end:
        length, kind, flags, sequence, port = _HEADER.unpack_from(datagram, offset)
        if not HEADER_LENGTH <= length <= end - offset:
            raise InvalidValue(f"a netlink message says it has {length} bytes, {end - offset} are there")
        yield Message(kind, flags, sequence, port, datagram[offset + HEADER_LENGTH : offset + length])
        offset += length + -length % 4


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute. Raises `InvalidValue` beyond 64 KiB, its length field's limit."""
    length = _ATTRIBUTE.size + len(value)
    if length > MAX_ATTRIBUTE:
        raise InvalidValue(f"a netlink attribute holds {MAX_ATTRIBUTE} bytes, not {length}")
    return _ATTRIBUTE.pack(length, kind) + value + _padding(length)


def nested(kind: int, parts: Iterable[bytes]) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    """An attribute of two bytes."""
    return attribute(kind, _U16.pack(value))


def u32(kind: int, value: int) -> bytes:
    """An attribute of four bytes."""
    return attribute(kind, _U32.pack(value))


def text(kind: int, value: str) -> bytes:
    """An attribute of text with its final NUL."""
    return attribute(kind, value.encode() + b"\0")


def attributes(payload: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Kind (without its flags) and value of each attribute from `offset` on. Raises `InvalidValue`."""
    end = len(payload)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if not _ATTRIBUTE.size <= length <= end - offset:
            raise InvalidValue(f"a netlink attribute says it has {length} bytes, {end - offset} are there")
        yield kind & _TYPE_MASK, payload[offset + _ATTRIBUTE.size : offset + length]
        offset += length + -length % 4


def read_u16(value: bytes) -> int:
    """A number of two bytes. Raises `InvalidValue`."""
    return _number(_U16, value)


def read_u32(value: bytes) -> int:
    """A number of four bytes. Raises `InvalidValue`."""
    return _number(_U32, value)


def read_text(value: bytes) -> str:
    """Text up to its NUL; bytes that are no UTF-8 are kept as surrogates, as file names are."""
    return value.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def decode_error(message: Message) -> tuple[int, str]:
    """The errno (0 for an acknowledgement) of an error message, and what the kernel said about it, if anything."""
    errno = -_number(_ERROR, message.payload[: _ERROR.size])
    if not message.flags & NLM_F_ACK_TLVS:
        return errno, ""
    offset = _ERROR.size + HEADER_LENGTH
    if not message.flags & NLM_F_CAPPED:
        offset = _ERROR.size + _number(_U32, message.payload[_ERROR.size : _ERROR.size + _U32.size])
        offset += -offset % 4
    said = [read_text(value) for kind, value in attributes(message.payload, offset) if kind == NLMSGERR_ATTR_MSG]
    return errno, said[0] if said else ""


def _number(form: struct.Struct, value: bytes) -> int:
    if len(value) != form.size:
        raise InvalidValue(f"a netlink number of {form.size} bytes came with {len(value)}")
    number: int = form.unpack(value)[0]
    return number

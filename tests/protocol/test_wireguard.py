"""WireGuard's messages, bytes ↔ values."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol import wireguard
from wireguard_mesh.protocol.wireguard import CookieReply, Initiation, MessageType, Response, Transport

Message = Initiation | Response | CookieReply | Transport

INITIATION = Initiation(0x01020304, b"e" * 32, b"s" * 48, b"t" * 28, b"1" * 16, b"2" * 16)
RESPONSE = Response(0x01020304, 0x0A0B0C0D, b"e" * 32, b"n" * 16, b"1" * 16, b"2" * 16)
COOKIE_REPLY = CookieReply(0x0A0B0C0D, b"n" * 24, b"c" * 32)
KEEPALIVE = Transport(0x0A0B0C0D, 2**63 + 5, b"t" * 16)
MESSAGES: list[Message] = [INITIATION, RESPONSE, COOKIE_REPLY, KEEPALIVE]
PARSERS: list[Callable[[bytes], Message]] = [Initiation.parse, Response.parse, CookieReply.parse, Transport.parse]


def test_the_layout_is_the_papers() -> None:
    assert INITIATION.build() == (b"\1\0\0\0\4\3\2\1" + b"e" * 32 + b"s" * 48 + b"t" * 28 + b"1" * 16 + b"2" * 16)
    assert RESPONSE.build() == (b"\2\0\0\0\4\3\2\1\x0d\x0c\x0b\x0a" + b"e" * 32 + b"n" * 16 + b"1" * 16 + b"2" * 16)
    assert COOKIE_REPLY.build() == b"\3\0\0\0\x0d\x0c\x0b\x0a" + b"n" * 24 + b"c" * 32
    assert KEEPALIVE.build() == b"\4\0\0\0\x0d\x0c\x0b\x0a\5\0\0\0\0\0\0\x80" + b"t" * 16


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (INITIATION, wireguard.INITIATION_SIZE),
        (RESPONSE, wireguard.RESPONSE_SIZE),
        (COOKIE_REPLY, wireguard.COOKIE_REPLY_SIZE),
        (KEEPALIVE, wireguard.KEEPALIVE_SIZE),
    ],
)
def test_sizes(message: Message, size: int) -> None:
    assert len(message.build()) == size


@pytest.mark.parametrize(("message", "parse"), list(zip(MESSAGES, PARSERS, strict=True)))
@pytest.mark.parametrize("as_buffer", [bytes, bytearray, memoryview])
def test_messages_survive_their_bytes(
    message: Message, parse: Callable[[object], Message], as_buffer: Callable[[bytes], object]
) -> None:
    assert parse(as_buffer(message.build())) == message


def test_type_and_indexes_are_read_in_place() -> None:
    types = [wireguard.message_type(memoryview(message.build())) for message in MESSAGES]
    assert types == list(MessageType)
    assert wireguard.sender_index(memoryview(INITIATION.build())) == 0x01020304
    assert wireguard.sender_index(memoryview(RESPONSE.build())) == 0x01020304
    assert wireguard.response_receiver_index(memoryview(RESPONSE.build())) == 0x0A0B0C0D
    assert wireguard.receiver_index(memoryview(COOKIE_REPLY.build())) == 0x0A0B0C0D
    assert wireguard.receiver_index(memoryview(KEEPALIVE.build())) == 0x0A0B0C0D


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_another_size_or_with_reserved_bytes_is_none(message: Message) -> None:
    datagram = message.build()
    assert wireguard.message_type(datagram[:-1]) is None
    if not isinstance(message, Transport):
        assert wireguard.message_type(datagram + b"\0") is None
    for position in (1, 2, 3):
        assert wireguard.message_type(datagram[:position] + b"\1" + datagram[position + 1 :]) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_one_message_at_most_and_come_back_as_they_were(data: bytes) -> None:
    kind = wireguard.message_type(data)
    for expected, parse in zip(MessageType, PARSERS, strict=True):
        if kind is expected:
            assert parse(data).build() == data
        else:
            with pytest.raises(InvalidValue, match="of WireGuard's"):
                parse(data)

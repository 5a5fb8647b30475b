"""Netlink messages and attributes: out and back, and what cannot be."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.netlink import codec

kinds = st.integers(0, 0x3FFF)
values = st.binary(max_size=50)


@given(st.lists(st.tuples(kinds, values), max_size=8))
def test_attributes_are_read_back(pairs: list[tuple[int, bytes]]) -> None:
    payload = b"".join(codec.attribute(kind, value) for kind, value in pairs)
    assert len(payload) % 4 == 0
    assert list(codec.attributes(payload)) == pairs
    ((kind, inner),) = codec.attributes(codec.nested(5, [payload]))
    assert (kind, inner) == (5, payload)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), values), max_size=5))
def test_messages_are_read_back(parts: list[tuple[int, int, bytes]]) -> None:
    datagram = b""
    for kind, sequence, payload in parts:
        message = codec.encode_message(kind, 3, sequence, payload)
        datagram += message + bytes(-len(message) % 4)
    expected = [codec.Message(kind, 3, sequence, 0, payload) for kind, sequence, payload in parts]
    assert list(codec.decode_messages(datagram)) == expected


@given(st.binary(max_size=100))
def test_anything_is_read_or_invalid(data: bytes) -> None:
    for read in (codec.decode_messages, codec.attributes):
        try:
            assert len(list(read(data))) <= len(data)
        except InvalidValue:
            continue


def test_numbers_and_text() -> None:
    payload = codec.u8(1, 7) + codec.u16(2, 258) + codec.u32(3, 65539) + codec.text(4, "wg0")
    found = dict(codec.attributes(payload))
    assert (found[1], codec.read_u16(found[2]), codec.read_u32(found[3])) == (b"\x07", 258, 65539)
    assert codec.read_text(found[4]) == "wg0"
    assert codec.read_text(b"\xff\0rest") == "\udcff"
    with pytest.raises(InvalidValue):
        codec.read_u32(b"\0")


def test_an_attribute_has_its_limit() -> None:
    assert codec.attribute(1, bytes(codec.MAX_ATTRIBUTE - 4))
    with pytest.raises(InvalidValue):
        codec.attribute(1, bytes(codec.MAX_ATTRIBUTE - 3))


def error(code: int, flags: int, rest: bytes) -> codec.Message:
    return codec.Message(codec.NLMSG_ERROR, flags, 1, 0, struct.pack("=i", -code) + rest)


def test_errors_with_and_without_the_kernels_words() -> None:
    said = codec.text(codec.NLMSGERR_ATTR_MSG, "no such thing")
    request = codec.encode_message(1, 1, 1, b"abcdefgh")
    capped = codec.NLM_F_CAPPED | codec.NLM_F_ACK_TLVS
    assert codec.decode_error(error(2, capped, request[: codec.HEADER_LENGTH] + said)) == (2, "no such thing")
    assert codec.decode_error(error(2, codec.NLM_F_ACK_TLVS, request + said)) == (2, "no such thing")
    assert codec.decode_error(error(2, codec.NLM_F_ACK_TLVS, request)) == (2, "")
    assert codec.decode_error(error(0, 0, b"")) == (0, "")

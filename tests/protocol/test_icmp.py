import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.protocol.icmp import (
    ECHO_REPLY,
    HEADER,
    checksum,
    echo_request,
    is_reply,
    without_ipv4_header,
)

PAYLOAD = b"mesh" * 4


def reply(version: int, sequence: int, payload: bytes, code: int = 0) -> bytes:
    return HEADER.pack(ECHO_REPLY[version], code, 0, 77, sequence) + payload


def test_the_example_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF & ~0xDDF2


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=64))
def test_a_request_for_ipv4_sums_to_nothing(identifier: int, sequence: int, payload: bytes) -> None:
    message = echo_request(4, identifier, sequence, payload)
    assert checksum(message) == 0
    assert message[:2] == b"\x08\x00"
    assert HEADER.unpack_from(message)[3:] == (identifier, sequence)


def test_a_request_for_ipv6_is_left_for_the_system_to_sum() -> None:
    assert echo_request(6, 1, 2, PAYLOAD)[:8] == bytes.fromhex("80000000 00010002")


@pytest.mark.parametrize("version", [4, 6])
def test_only_the_answer_is_one(version: int) -> None:
    assert is_reply(version, reply(version, 3, PAYLOAD), 3, PAYLOAD)
    assert not is_reply(version, reply(version, 4, PAYLOAD), 3, PAYLOAD)
    assert not is_reply(version, reply(version, 3, PAYLOAD, code=1), 3, PAYLOAD)
    assert not is_reply(version, reply(version, 3, PAYLOAD[::-1]), 3, PAYLOAD)
    assert not is_reply(version, reply(version, 3, PAYLOAD + b"x"), 3, PAYLOAD)
    assert not is_reply(version, echo_request(version, 77, 3, PAYLOAD), 3, PAYLOAD)
    assert not is_reply(version, b"", 3, PAYLOAD)


def test_the_header_of_ipv4_is_cut_by_its_own_length() -> None:
    plain, with_options = b"\x45" + bytes(19), b"\x46" + bytes(23)
    assert without_ipv4_header(plain + b"rest") == b"rest"
    assert without_ipv4_header(with_options + b"rest") == b"rest"
    assert without_ipv4_header(b"\x45short") == b""

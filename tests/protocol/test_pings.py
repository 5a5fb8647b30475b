"""Ping and pong, bytes ↔ values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import private_key, public_key
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol import pings
from wireguard_mesh.protocol.pings import Ping, PingKeys, Pong

KEYS = PingKeys(private_key(1).exchange(public_key(2)))
RELAYS_KEYS = PingKeys(private_key(2).exchange(public_key(1)))
OTHER_KEYS = PingKeys(private_key(3).exchange(public_key(2)))
PING = Ping(public_key(1).raw, 1_700_000_000_000_000)


def test_layout() -> None:
    datagram = PING.build(KEYS)
    assert len(datagram) == pings.PING_SIZE
    assert datagram[:4] == b"\5\0\0\0"
    assert datagram[4:36] == public_key(1).raw
    assert int.from_bytes(datagram[36:44], "little") == PING.microseconds
    pong = Pong(PING.microseconds, Endpoint.parse("192.0.2.1:5")).build(KEYS)
    assert len(pong) == pings.PONG_SIZE < pings.PING_SIZE
    assert pong[:4] == b"\6\0\0\0"
    assert pong[12:30] == bytes(10) + b"\xff\xff\xc0\0\2\1" + b"\5\0"


def test_both_ends_make_the_same_keys() -> None:
    datagram = PING.build(KEYS)
    assert Ping.parse(memoryview(datagram)) == PING
    assert Ping.is_signed(memoryview(datagram), RELAYS_KEYS)
    assert not Ping.is_signed(datagram, OTHER_KEYS)


@pytest.mark.parametrize("mapped", ["192.0.2.1:5", "[2001:db8::1]:65535", None])
def test_a_pong_says_from_where_the_ping_came(mapped: str | None) -> None:
    pong = Pong(5, Endpoint.parse(mapped) if mapped else None)
    assert Pong.parse(pong.build(RELAYS_KEYS), KEYS) == pong
    with pytest.raises(InvalidValue, match="not of the relay"):
        Pong.parse(pong.build(OTHER_KEYS), KEYS)


def test_a_signed_pong_with_an_impossible_address_is_refused() -> None:
    body = Pong(5, Endpoint.parse("192.0.2.1:5")).build(KEYS)[:12] + bytes(16) + b"\5\0"
    with pytest.raises(InvalidValue):
        Pong.parse(body + KEYS.sign_pong(body), KEYS)


def test_a_ping_is_no_pong_of_the_same_keys() -> None:
    body = Pong(5, None).build(KEYS)[:-16]
    with pytest.raises(InvalidValue, match="not of the relay"):
        Pong.parse(body + KEYS.sign_ping(body), KEYS)


@given(st.integers(0, pings.PING_SIZE * 8 - 1))
def test_a_changed_ping_is_no_longer_signed(bit: int) -> None:
    changed = bytearray(PING.build(KEYS))
    changed[bit // 8] ^= 1 << bit % 8
    assert not Ping.is_signed(bytes(changed), KEYS)


@given(st.binary(max_size=100))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    if not pings.is_ping(data):
        with pytest.raises(InvalidValue, match="no ping"):
            Ping.parse(data)
    with pytest.raises(InvalidValue):
        Pong.parse(data, KEYS)

"""PCP and NAT-PMP, bytes ↔ values, by the layouts of RFC 6887 and RFC 6886."""

from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol import pcp
from wireguard_mesh.protocol.pcp import Mapped, MappingRefused

NONCE = b"twelve bytes"
OWN = IPv4Address("192.168.1.5")
OUTER = IPv4Address("198.51.100.7")
V4_MAPPED = bytes(10) + b"\xff\xff"
PORT = 51820


def pcp_response(
    result: int = 0,
    nonce: bytes = NONCE,
    protocol: int = 17,
    port: int = PORT,
    address: bytes = V4_MAPPED + OUTER.packed,
) -> bytes:
    head = b"\2\x81\0" + bytes([result]) + (3600).to_bytes(4, "big") + (99).to_bytes(4, "big") + bytes(12)
    body = nonce + bytes([protocol, 0, 0, 0]) + port.to_bytes(2, "big") + (40000).to_bytes(2, "big") + address
    return head + body


def pmp_map_response(result: int = 0, port: int = PORT) -> bytes:
    head = b"\0\x81" + result.to_bytes(2, "big") + (99).to_bytes(4, "big")
    return head + port.to_bytes(2, "big") + (40000).to_bytes(2, "big") + (3600).to_bytes(4, "big")


def test_a_pcp_request() -> None:
    request = pcp.pcp_request(NONCE, OWN, PORT, 40000, 3600)
    head = b"\2\1\0\0" + (3600).to_bytes(4, "big") + V4_MAPPED + OWN.packed
    body = NONCE + b"\x11\0\0\0" + PORT.to_bytes(2, "big") + (40000).to_bytes(2, "big") + V4_MAPPED + bytes(4)
    assert request == head + body


def test_a_pcp_response() -> None:
    assert pcp.read_pcp(pcp_response(), NONCE, PORT) == Mapped(OUTER, 40000, 3600)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        pcp_response()[:20],
        b"\1" + pcp_response()[1:],
        b"\2\1" + pcp_response()[2:],
        pcp_response(nonce=b"another one!"),
        pcp_response(protocol=6),
        pcp_response(port=1),
        pcp_response(address=bytes(15) + b"\1"),
        pcp_response(result=8, nonce=b"another one!"),
        pcp_response()[:30],
    ],
)
def test_what_answers_something_else_is_left_out(datagram: bytes) -> None:
    assert pcp.read_pcp(datagram, NONCE, PORT) is None


@pytest.mark.parametrize("datagram", [pcp_response(result=8), pcp_response(result=8)[:24]])
def test_pcp_refuses(datagram: bytes) -> None:
    with pytest.raises(MappingRefused, match="no room"):
        pcp.read_pcp(datagram, NONCE, PORT)


def test_a_result_that_nobody_knows() -> None:
    with pytest.raises(MappingRefused, match="PCP result 200"):
        pcp.read_pcp(pcp_response(result=200), NONCE, PORT)
    with pytest.raises(MappingRefused, match="NAT-PMP result 200"):
        pcp.read_pmp_map(pmp_map_response(result=200), PORT)


def test_a_router_with_nat_pmp_only_says_so() -> None:
    assert pcp.is_without_pcp(b"\0\x81\0\1" + bytes(4))
    for datagram in (b"", b"\0\x81", pmp_map_response(), pcp_response(), b"\0\1\0\1"):
        assert not pcp.is_without_pcp(datagram)


def test_nat_pmp_tells_the_outer_address() -> None:
    assert pcp.pmp_address_request() == b"\0\0"
    response = b"\0\x80\0\0" + bytes(4) + OUTER.packed
    assert pcp.read_pmp_address(response) == OUTER
    assert pcp.read_pmp_address(response[:10]) is None
    assert pcp.read_pmp_address(pmp_map_response()) is None
    with pytest.raises(MappingRefused, match="network has failed"):
        pcp.read_pmp_address(b"\0\x80\0\3" + bytes(8))


def test_nat_pmp_maps() -> None:
    request = pcp.pmp_map_request(PORT, 40000, 3600)
    assert request == b"\0\1\0\0" + PORT.to_bytes(2, "big") + (40000).to_bytes(2, "big") + (3600).to_bytes(4, "big")
    assert pcp.read_pmp_map(pmp_map_response(), PORT) == (40000, 3600)
    assert pcp.read_pmp_map(pmp_map_response(port=1), PORT) is None
    assert pcp.read_pmp_map(b"", PORT) is None
    with pytest.raises(MappingRefused, match="allows nobody"):
        pcp.read_pmp_map(pmp_map_response(result=2), PORT)


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"])
def test_an_address_that_nobody_reaches_is_refused(address: str) -> None:
    with pytest.raises(InvalidValue):
        Mapped(IPv4Address(address), 5, 60).endpoint()


def test_where_others_reach_it() -> None:
    assert Mapped(OUTER, 40000, 60).endpoint() == Endpoint.parse("198.51.100.7:40000")
    with pytest.raises(InvalidValue):
        Mapped(OUTER, 0, 60).endpoint()


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    for read in (
        lambda: pcp.read_pcp(data, NONCE, PORT),
        lambda: pcp.read_pmp_address(data),
        lambda: pcp.read_pmp_map(data, PORT),
        lambda: pcp.is_without_pcp(data),
    ):
        with suppress(MappingRefused):
            read()

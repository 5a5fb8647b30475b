"""Endpoints: one text form, both families."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue


@given(st.ip_addresses(), st.integers(1, 65535))
def test_text_and_value_are_one(address: IPv4Address | IPv6Address, port: int) -> None:
    try:
        endpoint = Endpoint(address, port)
    except InvalidValue:
        assume(False)
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert hash(Endpoint.parse(str(endpoint))) == hash(endpoint)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text)
    except InvalidValue:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an address and a port"),
        ("192.0.2.1", "an address and a port"),
        ("192.0.2.1:", "an address and a port"),
        ("192.0.2.1:x", "an address and a port"),
        ("192.0.2.1:-1", "an address and a port"),
        ("192.0.2.1:٣", "an address and a port"),
        ("192.0.2.1:123456", "an address and a port"),
        ("192.0.2.1:0", "1 to 65535"),
        ("192.0.2.1:65536", "1 to 65535"),
        ("example.org:51820", "starts with an IP address"),
        ("2001:db8::1:51820", "in brackets"),
        ("[192.0.2.1]:51820", "in brackets"),
        ("0.0.0.0:51820", "no address of one machine"),
        ("[::]:51820", "no address of one machine"),
        ("224.0.0.1:51820", "no address of one machine"),
        ("240.0.0.1:51820", "no address of one machine"),
        ("255.255.255.255:51820", "no address of one machine"),
        ("[::ffff:192.0.2.1]:51820", "no address of one machine"),
        ("[fe80::1%eth0]:51820", "names no interface"),
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        Endpoint.parse(text)


def test_endpoints_are_values() -> None:
    endpoint = Endpoint(ip_address("192.0.2.1"), 51820)
    assert repr(endpoint) == "Endpoint(192.0.2.1:51820)"
    assert endpoint != "192.0.2.1:51820"
    assert endpoint != Endpoint(ip_address("192.0.2.1"), 51821)
    with pytest.raises(AttributeError):
        endpoint.port = 1

"""The mesh's address ranges."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.networks import DEFAULT_IPV4_NETWORK, MeshNetwork, parse_ipv4_network, ula_prefix

MESH = MeshNetwork.within(DEFAULT_IPV4_NETWORK, ula_prefix(bytes.fromhex("0123456789")))


@pytest.mark.parametrize(
    "text", ["10.100.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.7.0/30", "100.64.0.0/10", "10.0.0.0/255.0.0.0"]
)
def test_private_ranges_are_taken(text: str) -> None:
    assert parse_ipv4_network(text) == IPv4Network(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no network"),
        ("mesh", "no network"),
        ("10.0.0.0/33", "no network"),
        ("10.0.0.0", "lacks its prefix length"),
        ("10.100.0.1/16", "you may have meant 10.100.0.0/16"),
        ("10.0.0.0/31", "no room for two peers"),
        ("192.0.2.0/24", "not private"),
        ("10.0.0.0/7", "not private"),
        ("0.0.0.0/0", "not private"),
        ("fd00::/64", "is IPv4"),
    ],
)
def test_other_ranges_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        parse_ipv4_network(text)


def test_the_ipv6_range_is_a_subnet_of_a_unique_local_prefix() -> None:
    assert ula_prefix(bytes.fromhex("0123456789")) == IPv6Network("fd01:2345:6789::/48")
    assert MESH.ipv6 == IPv6Network("fd01:2345:6789::/64")
    with pytest.raises(InvalidValue, match="not 4"):
        ula_prefix(bytes(4))


@given(st.integers(1, MESH.capacity))
def test_numbers_and_addresses_are_one(number: int) -> None:
    address = MESH.ipv4_address(number)
    assert address in MESH.ipv4
    assert MESH.number_of(address) == number
    assert int(MESH.ipv6_address(number)) - int(MESH.ipv6.network_address) == number


def test_network_and_broadcast_are_no_hosts() -> None:
    assert MESH.capacity == 2**16 - 2
    assert str(MESH.ipv4_address(1)) == "10.100.0.1"
    assert str(MESH.ipv4_address(MESH.capacity)) == "10.100.255.254"
    for number in (0, -1, MESH.capacity + 1):
        with pytest.raises(InvalidValue, match="hosts 1 to"):
            MESH.ipv4_address(number)
        with pytest.raises(InvalidValue, match="hosts 1 to"):
            MESH.ipv6_address(number)
    for text in ("10.100.0.0", "10.100.255.255", "10.99.0.1", "192.0.2.1"):
        with pytest.raises(InvalidValue, match="no host address"):
            MESH.number_of(IPv4Address(text))


def test_both_ranges_are_all_that_is_inside() -> None:
    assert MESH.prefixes == (MESH.ipv4, MESH.ipv6)

"""Records of links, addresses, routes and rules: bytes and back."""

import struct
from ipaddress import ip_address, ip_interface, ip_network
from socket import AF_INET, AF_INET6

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.netlink import records
from wireguard_mesh.netlink.codec import attribute, u32

families = st.sampled_from([AF_INET, AF_INET6])
numbers = st.integers(0, 2**32 - 1)


@given(st.builds(records.Rule, families, numbers, numbers, numbers, st.booleans(), st.none()))
def test_a_rule_with_a_mark(rule: records.Rule) -> None:
    assert records.decode_rule(records.encode_rule(rule)) == rule


@given(st.builds(records.Rule, families, numbers, numbers, st.none(), st.just(False), st.integers(0, 128)))
def test_a_rule_that_suppresses(rule: records.Rule) -> None:
    assert records.decode_rule(records.encode_rule(rule)) == rule


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/8", "::/0", "fd00::/64"])
def test_a_route(text: str) -> None:
    route = records.Route(ip_network(text), 51820, 7)
    assert records.decode_route(records.encode_route(route, records.RTPROT_BOOT, records.RT_SCOPE_LINK)) == route


@pytest.mark.parametrize("text", ["10.0.0.7/16", "fd00::7/64"])
def test_an_address(text: str) -> None:
    address = records.LinkAddress(7, ip_interface(text))
    assert records.decode_address(records.encode_address(address)) == address


def test_a_link() -> None:
    link = records.decode_link(records.encode_link(7, flags=records.IFF_UP, mtu=1420, name="wg0", kind="wireguard"))
    assert link == records.Link(7, "wg0", 1420, records.IFF_UP, "wireguard")
    assert not link.is_up, "it has no carrier"


def test_the_mtu_of_a_route_and_the_table_of_an_old_kernel() -> None:
    header = struct.pack("=BBBBBBBBI", AF_INET, 0, 0, 0, 254, 3, 0, 1, 0)
    route = records.decode_route(header + attribute(8, u32(2, 1300)))
    assert route == records.Route(ip_network("0.0.0.0/0"), 254, 0, mtu=1300)


def test_other_families_and_actions_are_none() -> None:
    bridge = 7
    assert records.decode_address(struct.pack("=BBBBi", bridge, 0, 0, 0, 1)) is None
    assert records.decode_address(struct.pack("=BBBBi", AF_INET, 0, 0, 0, 1)) is None
    assert records.decode_route(struct.pack("=BBBBBBBBI", bridge, 0, 0, 0, 0, 0, 0, 0, 0)) is None
    assert records.decode_rule(struct.pack("=BBBBBBBBI", AF_INET, 0, 0, 0, 0, 0, 0, 8, 0)) is None


def test_families() -> None:
    assert records.family_of(ip_address("10.0.0.1")) == AF_INET
    assert records.family_of(ip_network("fd00::/8")) == AF_INET6
    assert records.encode_lookup(ip_address("10.0.0.1"), 0) == records.encode_lookup(ip_address("10.0.0.1"), 7)[:-8]

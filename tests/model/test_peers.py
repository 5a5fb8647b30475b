"""Peers and maps."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import NETWORK, peer
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.peers import MapVersion, NetworkMap, shared_prefixes


def test_a_peer_may_use_its_own_two_addresses() -> None:
    sample = msgspec.structs.replace(peer(7), ipv4=IPv4Address("10.100.0.7"), ipv6=IPv6Address("fd00::7"))
    assert sample.addresses == frozenset((IPv4Network("10.100.0.7/32"), IPv6Network("fd00::7/128")))


def test_the_second_scan_of_ten_thousand_peers_makes_no_prefix_again() -> None:
    base = peer(1)
    many = [msgspec.structs.replace(base, ipv4=IPv4Address(f"10.9.{n >> 8}.{n & 255}")) for n in range(10_000)]
    first = [one.addresses for one in many]
    assert all(one.addresses is before for one, before in zip(many, first, strict=True))


def test_peers_are_immutable() -> None:
    with pytest.raises(AttributeError):
        peer(1).online = False  # type: ignore[misc]  # that it is refused is the test


@given(st.from_regex(r"[0-9a-z]{1,64}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_the_version_of_a_map_and_its_text_are_one(epoch: str, revision: int) -> None:
    assert MapVersion.parse(str(MapVersion(epoch, revision))) == MapVersion(epoch, revision)


@pytest.mark.parametrize(
    "text", ["", ".", "a", "a.", ".1", "a.-1", "a.1.5x", "a b.1", "é.1", "a.٣", f"{'a' * 65}.1", f"a.{10**18}"]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"EPOCH\.REVISION"):
        MapVersion.parse(text)


def test_a_map_knows_its_version() -> None:
    network_map = NetworkMap(epoch="e", revision=4, network=NETWORK, me=peer(1), peers={})
    assert str(network_map.version) == "e.4"


def test_equal_prefixes_are_one_object_wherever_they_came_from() -> None:
    one = peer(7)
    again = frozenset(ip_network(str(prefix)) for prefix in one.addresses)
    assert shared_prefixes(again) is one.addresses

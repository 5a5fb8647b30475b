"""Peers and maps."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec
import pytest

from tests.samples import peer


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

"""Peers and maps."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec
import pytest

from tests.samples import peer


def test_a_peer_may_use_its_own_two_addresses() -> None:
    sample = msgspec.structs.replace(peer(7), ipv4=IPv4Address("10.100.0.7"), ipv6=IPv6Address("fd00::7"))
    assert sample.addresses == frozenset((IPv4Network("10.100.0.7/32"), IPv6Network("fd00::7/128")))


def test_peers_are_immutable() -> None:
    with pytest.raises(AttributeError):
        peer(1).online = False  # type: ignore[misc]  # that it is refused is the test

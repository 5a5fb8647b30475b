"""Relays, as the map names them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import msgspec
import pytest

from tests.core.samples import public_key, relay
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.relays import Relay, VantagePoint, parse_relay_id

GOOD = msgspec.structs.replace(relay(1), ipv4=IPv4Address("192.0.2.1"), ipv6=IPv6Address("2001:db8::1"))


def test_a_vantage_point_is_reached_at_each_address() -> None:
    port = GOOD.vantage_points[1].port
    assert GOOD.endpoints(1) == (
        Endpoint(IPv4Address("192.0.2.1"), port),
        Endpoint(IPv6Address("2001:db8::1"), port),
    )
    GOOD.check()


@pytest.mark.parametrize(
    "relay",
    [
        msgspec.structs.replace(GOOD, ipv4=IPv4Address("0.0.0.0")),
        msgspec.structs.replace(GOOD, ipv6=IPv6Address("ff02::1")),
        msgspec.structs.replace(GOOD, ipv4=None, ipv6=None, vantage_points=(VantagePoint(public_key(1), 0),)),
        msgspec.structs.replace(GOOD, vantage_points=(VantagePoint(public_key(1), 65536),)),
    ],
)
def test_what_nobody_could_reach_is_refused(relay: Relay) -> None:
    with pytest.raises(InvalidValue):
        relay.check()


def test_names_are_those_of_hosts() -> None:
    assert parse_relay_id("fra-1.example") == "fra-1.example"
    for text in ("", "Fra", "-a", "a-", "a b", "a" * 64):
        with pytest.raises(InvalidValue, match="a relay's name"):
            parse_relay_id(text)

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec
import pytest

from tests.core.relay_samples import OWN, far, lan
from tests.samples import public_key
from wireguard_mesh.core.relay_screening import outside, usable_relays
from wireguard_mesh.model.relays import MAX_RELAYS, Relay, VantagePoint

MESH = (ip_network("10.100.0.0/16"), ip_network("fd00:1:2:3::/64"))
INSIDE, INSIDE6 = IPv4Address("10.100.0.7"), IPv6Address("fd00:1:2:3::7")


def usable(*relays: Relay) -> list[str]:
    return [relay.id for relay in usable_relays(relays, MESH, [lan()])]


def with_points(relay: Relay, *points: VantagePoint) -> Relay:
    return msgspec.structs.replace(relay, vantage_points=points)


def test_relays_that_are_as_they_should_be_are_followed() -> None:
    relays = (OWN, far(1), far(2))
    assert usable_relays(relays, MESH, [lan()]) == relays


def test_no_more_are_followed_than_a_mesh_may_have() -> None:
    assert usable(*(far(number) for number in range(1, 100))) == [f"r{number}" for number in range(1, MAX_RELAYS + 1)]


@pytest.mark.parametrize(
    "strange",
    [
        with_points(far(1)),
        with_points(far(1), VantagePoint(public_key(1), 0)),
        with_points(far(1), VantagePoint(public_key(1), 65536)),
        with_points(far(1), VantagePoint(public_key(1), 1), VantagePoint(public_key(1), 2)),
        with_points(far(1), VantagePoint(OWN.public_key, 8080)),
        msgspec.structs.replace(far(1), id=OWN.id),
        msgspec.structs.replace(far(1), ipv4=IPv4Address("255.255.255.255")),
        msgspec.structs.replace(far(1), ipv4=INSIDE),
        msgspec.structs.replace(far(1), ipv4=None, ipv6=INSIDE6),
    ],
)
def test_one_that_cannot_be_is_passed_over_and_others_serve(strange: Relay) -> None:
    assert usable(OWN, strange, far(2)) == [OWN.id, "r2"]


def test_of_two_addresses_the_one_that_leads_inside_is_left_out() -> None:
    both = msgspec.structs.replace(far(1), ipv6=INSIDE6)
    assert usable_relays([both], MESH, [lan()]) == (far(1),)
    ipv6 = IPv6Address("2001:db8::1")
    other = msgspec.structs.replace(far(1), ipv4=INSIDE, ipv6=ipv6)
    assert usable_relays([other], MESH, []) == (msgspec.structs.replace(far(1), ipv4=None, ipv6=ipv6),)


def test_the_servers_addresses_are_those_outside() -> None:
    addresses = [ip_address(text) for text in ("10.100.0.7", "192.0.2.1", "fd00:1:2:3::7", "fd00:9::1")]
    assert outside(addresses, MESH, []) == (ip_address("192.0.2.1"), ip_address("fd00:9::1"))

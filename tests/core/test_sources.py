"""What is known of where a datagram came from."""

from ipaddress import IPv4Address, IPv6Network

import pytest

from tests.core.samples import public_key
from wireguard_mesh.core.sources import Source, WebSource, endpoint_of, source_bytes, subscriber
from wireguard_mesh.model.endpoints import Endpoint

WEB = WebSource(7, public_key(1))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (("192.0.2.1", 5), IPv4Address("192.0.2.1")),
        (("::ffff:192.0.2.1", 5, 0, 0), IPv4Address("192.0.2.1")),
        (("2001:db8::1", 5, 0, 0), IPv6Network("2001:db8::/64")),
        (("fe80::1%eth0", 5, 0, 2), IPv6Network("fe80::/64")),
        (WEB, public_key(1)),
    ],
)
def test_limits_go_by_subscriber(source: Source, expected: object) -> None:
    assert subscriber(source) == expected


def test_a_cookie_is_of_one_address_and_port() -> None:
    sources: list[Source] = [("192.0.2.1", 5), ("192.0.2.1", 6), ("192.0.2.2", 5), WEB, WebSource(8, public_key(1))]
    assert len({source_bytes(source) for source in sources}) == len(sources)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (("192.0.2.1", 5), "192.0.2.1:5"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1:5"),
        (("2001:db8::1", 5, 0, 0), "[2001:db8::1]:5"),
        (("fe80::1%eth0", 5, 0, 2), None),
        (WEB, None),
    ],
)
def test_what_others_may_try(source: Source, expected: str | None) -> None:
    assert endpoint_of(source) == (None if expected is None else Endpoint.parse(expected))

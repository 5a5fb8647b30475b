from ipaddress import ip_address

import pytest

from tests.core.relay_samples import OWN, far
from wireguard_mesh.core.stations import Station, candidates


@pytest.mark.parametrize(
    ("server", "families", "expected"),
    [
        (["203.0.113.1", "2001:db8::1"], {4, 6}, ["203.0.113.1:8081", "[2001:db8::1]:8081"]),
        (["2001:db8::1", "203.0.113.1"], {4, 6}, ["203.0.113.1:8081", "[2001:db8::1]:8081"]),
        (["2001:db8::1", "203.0.113.1"], {6}, ["[2001:db8::1]:8081"]),
        (["203.0.113.1"], {6}, ["203.0.113.1:8081"]),
        (["127.0.0.1"], set(), ["127.0.0.1:8081"]),
        ([], {4}, []),
    ],
)
def test_where_the_servers_relay_is_reached(server: list[str], families: set[int], expected: list[str]) -> None:
    found = candidates(OWN, 1, [ip_address(text) for text in server], families)
    assert [str(endpoint) for endpoint in found] == expected


def test_a_relay_with_an_address_is_reached_there() -> None:
    assert [str(found) for found in candidates(far(1), 0, [ip_address("192.0.2.1")], {4})] == ["203.0.113.101:8080"]


def test_another_network_forgets_distances_and_begins_anew() -> None:
    station = Station(far(1), (), {4})
    station.distance.add(0.01)
    station.moved()
    station.distance.add(0.5)
    assert station.distance.milliseconds not in {None, 10}
    assert all(vantage.reset_due for vantage in station.vantages)

"""By which addresses others reach a relay."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from wireguard_mesh.client import relay_addresses
from wireguard_mesh.client.relay_addresses import Addresses
from wireguard_mesh.model.errors import InvalidValue

IPV4, IPV6 = IPv4Address("203.0.113.5"), IPv6Address("2001:db8::5")


def test_what_is_said_holds() -> None:
    said = Addresses.parse(["203.0.113.5", "2001:db8::5"])
    assert said == Addresses(IPV4, IPV6)
    assert said.find(()) is said
    assert str(said) == "203.0.113.5, 2001:db8::5"
    assert Addresses.parse(["2001:db8::5"]) == Addresses(None, IPV6)
    assert not Addresses.parse([]).are_given


def test_a_name_stands_for_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 0)) for address in ("fe80::1%eth0", "203.0.113.5", "203.0.113.6")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert Addresses.parse(["relay.example.com"]) == Addresses(IPV4, IPv6Address("fe80::1"))


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        (["203.0.113.5", "203.0.113.6"], "one IPv4 and one IPv6 address at most"),
        (["2001:db8::5", "2001:db8::6"], "one IPv4 and one IPv6 address at most"),
        (["relay.invalid"], "no address, and no name that has one"),
        (["a" * 70 + ".example"], "no address, and no name that has one"),
    ],
)
def test_what_cannot_be_is_refused(hosts: list[str], says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        Addresses.parse(hosts)


def test_this_machines_own_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = {"198.51.100.1": "127.0.0.1", "192.0.2.1": "203.0.113.5", "2001:db8::1": "2001:db8::5"}
    monkeypatch.setattr(relay_addresses, "_source_towards", lambda target: ip_address(ways[str(target)]))
    assert Addresses().find((ip_address("198.51.100.1"),)) == Addresses(IPV4, IPV6)


def test_on_a_machine_by_itself_loopback_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = {"127.0.0.1": "127.0.0.1"}
    monkeypatch.setattr(
        relay_addresses,
        "_source_towards",
        lambda target: ip_address(ways[str(target)]) if str(target) in ways else None,
    )
    assert Addresses().find((ip_address("127.0.0.1"),)) == Addresses(IPv4Address("127.0.0.1"), None)
    with pytest.raises(InvalidValue, match="no address by which others could reach"):
        Addresses().find(())


def test_the_system_says_from_where_it_would_send() -> None:
    assert Addresses().find((ip_address("127.0.0.1"),)).ipv4 is not None

"""The state of a host's network is read back as it is."""

import pytest

from lab import Lab
from lab.state import network_state, said

pytestmark = pytest.mark.lab


def test_a_change_is_seen_and_so_is_that_it_was_undone(lab: Lab) -> None:
    a = lab.host("a", lab.switch("lan", "192.0.2.0/24"))
    before = network_state(a)
    assert "192.0.2.1/24" in before["ip -brief address"]
    for do, undo in (
        (("ip", "rule", "add", "fwmark", "7", "table", "7"), ("ip", "rule", "del", "fwmark", "7")),
        (("ip", "route", "add", "10.0.0.0/8", "dev", "eth0", "table", "7"), ("ip", "route", "flush", "table", "7")),
        (("nft", "add", "table", "inet", "x"), ("nft", "delete", "table", "inet", "x")),
        (("sysctl", "-w", "net.ipv4.ip_forward=1"), ("sysctl", "-w", "net.ipv4.ip_forward=0")),
    ):
        a.run(*do)
        assert network_state(a) != before, do
        a.run(*undo)
        assert network_state(a) == before, undo


def test_a_command_that_fails_is_heard_too(lab: Lab) -> None:
    assert "no-such-program" in said(lab.host("a"), "no-such-program")

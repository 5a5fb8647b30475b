"""Single steps: twice is once, and what is gone is no error."""

import socket
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.system.hosts import EXIT_NODE, WG0, add_interface, inside, tool
from wireguard_mesh.model.errors import NotFound
from wireguard_mesh.netlink.rtnetlink import Rtnetlink
from wireguard_mesh.system import firewall, sysctl
from wireguard_mesh.system.journal import AddressEntry, Entry, FirewallEntry, RouteEntry, RuleEntry, SysctlEntry
from wireguard_mesh.system.steps import Steps

pytestmark = pytest.mark.lab

ENTRIES: tuple[Entry, ...] = (
    AddressEntry(text="10.100.0.7/32"),
    AddressEntry(text="fd00::7/128"),
    RouteEntry(text="10.99.0.0/16", table=254),
    RouteEntry(text="::/0", table=51820),
    RuleEntry(version=4, table=51820, fwmark=51820, priority=1000),
    RuleEntry(version=6, table=254, fwmark=None, priority=999),
    SysctlEntry(path="net/ipv4/ip_forward", value="1", expected="1", previous="0", purpose="forwarding"),
    FirewallEntry(table=firewall.table_name(WG0), rules=firewall.ruleset(EXIT_NODE)),
)


@pytest.fixture
def routing(lab: Lab) -> Iterator[Rtnetlink]:
    with inside(lab):
        made = Rtnetlink()
        yield made
        made.close()


@pytest.fixture
def steps(routing: Rtnetlink) -> Steps:
    """The interface stands, and is ours."""
    add_interface()
    tool("ip", "link", "set", WG0, "up")
    return Steps(routing, socket.if_nametoindex(WG0))


@pytest.mark.parametrize("entry", ENTRIES)
async def test_make_and_undo_twice(steps: Steps, entry: Entry) -> None:
    for _ in range(2):
        await steps.make(entry)
        assert steps.stands(entry)
    for _ in range(2):
        await steps.undo(entry)
        assert not steps.stands(entry)


async def test_what_went_with_the_interface_is_undone_already(routing: Rtnetlink) -> None:
    steps = Steps(routing, None)
    for entry in ENTRIES[:4]:
        assert not steps.stands(entry)
        await steps.undo(entry)
        with pytest.raises(NotFound):
            await steps.make(entry)


async def test_a_side_effect_is_only_taken_back(steps: Steps) -> None:
    path = "net/ipv4/conf/eth0/forwarding"
    entry = SysctlEntry(path=path, value=None, expected="0", previous="1", purpose="forwarding")
    await steps.make(entry)
    assert sysctl.read(path) == "0"
    assert not steps.stands(entry)
    await steps.undo(entry)
    assert sysctl.read(path) == "1"

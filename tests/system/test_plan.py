"""What is to stand, in which order, and what is refused."""

from ipaddress import ip_network
from socket import AF_INET, AF_INET6

import msgspec
import pytest

from tests.system.hosts import BOTH, EXIT_USER, MEMBER
from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.netlink.records import Route, Rule
from wireguard_mesh.system import sysctl
from wireguard_mesh.system.journal import FirewallEntry, RuleEntry, SysctlEntry
from wireguard_mesh.system.plan import check_overlap, wanted_entries, without_ipv6

KERNEL_RULES = [
    Rule(family, priority, table) for family in (AF_INET, AF_INET6) for priority, table in ((0, 255), (32766, 254))
]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is off, and there are no interfaces."""
    monkeypatch.setattr(sysctl, "read", lambda _path: "0")
    monkeypatch.setattr(sysctl, "names", lambda _folder: [])


def kinds(entries: list[object]) -> list[str]:
    return [type(entry).__name__.removesuffix("Entry") for entry in entries]


def test_the_firewall_comes_before_forwarding_and_the_rules_last() -> None:
    entries = wanted_entries(BOTH, [], KERNEL_RULES)
    order = kinds(list(entries))
    assert order == ["Address"] * 2 + ["Route"] * 2 + ["Firewall"] + ["Sysctl"] * 4 + ["Route"] * 2 + ["Rule"] * 4
    rules = [entry for entry in entries if isinstance(entry, RuleEntry)]
    assert [(rule.version, rule.fwmark, rule.priority) for rule in rules] == [
        (4, None, 32764),
        (4, 51820, 32765),
        (6, None, 32764),
        (6, 51820, 32765),
    ]


def test_ours_come_before_the_rules_of_others() -> None:
    entries = wanted_entries(EXIT_USER, [], [*KERNEL_RULES, Rule(AF_INET, 1000, 99)])
    priorities = {entry.version: entry.priority for entry in entries if isinstance(entry, RuleEntry) and entry.fwmark}
    assert priorities == {4: 999, 6: 32765}
    entries = wanted_entries(EXIT_USER, [], [Rule(AF_INET, 1, 99)])
    assert [entry.priority for entry in entries if isinstance(entry, RuleEntry)][:2] == [1, 2]


def test_what_is_journaled_keeps_its_priority_and_its_past() -> None:
    journal = wanted_entries(BOTH, [], KERNEL_RULES)
    past = [
        msgspec.structs.replace(entry, previous="7") if isinstance(entry, SysctlEntry) else entry for entry in journal
    ]
    assert wanted_entries(BOTH, past, [*KERNEL_RULES, Rule(AF_INET, 500, 99)]) == past
    older = [
        msgspec.structs.replace(entry, rules="old") if isinstance(entry, FirewallEntry) else entry for entry in past
    ]
    assert wanted_entries(BOTH, older, KERNEL_RULES) == past


def test_without_ipv6_everything_else_stays() -> None:
    left = without_ipv6(BOTH)
    assert {address.version for address in left.addresses} == {4}
    assert {route.version for route in left.routes} == {4}
    assert left.exit_routing is not None
    assert left.exit_routing.families == {4}
    assert left.forwarding is not None
    assert {source.version for source in left.forwarding.sources} == {4}
    assert without_ipv6(MEMBER).exit_routing is None


@pytest.mark.parametrize("text", ["10.100.5.0/24", "10.0.0.0/8", "10.100.0.0/16", "fd01:2345:6789::/64", "fd01::/16"])
def test_an_overlap_names_both_and_the_flag(text: str) -> None:
    with pytest.raises(Conflict, match=f"overlaps the local route {text}; .*-network"):
        check_overlap(MEMBER, 7, [Route(ip_network(text), link=2)])


@pytest.mark.parametrize(
    "route",
    [
        Route(ip_network("10.100.0.0/16"), link=7),
        Route(ip_network("0.0.0.0/0"), link=2),
        Route(ip_network("0.0.0.0/1"), link=2),
        Route(ip_network("::/0"), link=2),
        Route(ip_network("10.0.0.0/8"), kind=7),
        Route(ip_network("192.168.0.0/16"), link=2),
        Route(ip_network("fe80::/64"), link=2),
    ],
)
def test_no_overlap(route: Route) -> None:
    check_overlap(MEMBER, 7, [route])

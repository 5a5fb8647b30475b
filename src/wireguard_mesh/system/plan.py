"""From the host that is wanted, and what stands, to the entries of the journal, in the order in which to make them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec

from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.model.hosts import ExitRouting, WantedHost
from wireguard_mesh.netlink.records import (
    RT_TABLE_MAIN,
    RTN_UNICAST,
    Route,
    Rule,
)
from wireguard_mesh.system import firewall, sysctl
from wireguard_mesh.system.forwarding import PURPOSE as FORWARDING
from wireguard_mesh.system.forwarding import forwarding_settings
from wireguard_mesh.system.journal import AddressEntry, Entry, FirewallEntry, RouteEntry, RuleEntry, SysctlEntry
from wireguard_mesh.system.steps import FAMILIES

# Routes shorter than these are a way into the internet, in pieces at times ("0.0.0.0/1"), and no local network.
SHORTEST_LOCAL_ROUTE: Final = {4: 8, 6: 16}
SRC_VALID_MARK: Final = "net/ipv4/conf/all/src_valid_mark"
_EXIT: Final = "exit"
_DEFAULT_ROUTES: Final = {4: "0.0.0.0/0", 6: "::/0"}
_RULES_A_FAMILY: Final = 2
_MAIN_RULE_PRIORITY: Final = 32766  # of the kernel's own rule for the main table


def without_ipv6(wanted: WantedHost) -> WantedHost:
    """What is left of it on a machine where IPv6 is off."""
    routing = wanted.exit_routing
    forwarding = wanted.forwarding
    if routing is not None:
        routing = msgspec.structs.replace(routing, families=routing.families - {6})
    if forwarding is not None:
        sources = frozenset(prefix for prefix in forwarding.sources if prefix.version == 4)
        forwarding = msgspec.structs.replace(forwarding, sources=sources)
    return msgspec.structs.replace(
        wanted,
        addresses=frozenset(address for address in wanted.addresses if address.version == 4),
        routes=frozenset(route for route in wanted.routes if route.version == 4),
        exit_routing=routing,
        forwarding=forwarding,
    )


def check_overlap(wanted: WantedHost, link: int, routes: Iterable[Route]) -> None:
    """Raises `Conflict` if the mesh covers a network that this machine has by another interface than `link`."""
    for local in routes:
        prefix = local.destination
        if local.link == link or local.kind != RTN_UNICAST or prefix.prefixlen < SHORTEST_LOCAL_ROUTE[prefix.version]:
            continue
        for mesh in wanted.routes:
            if _overlap(mesh, prefix):
                raise Conflict(
                    f"the mesh's network {mesh} overlaps the local route {prefix}",
                    "start the server with another -network",
                )


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def wanted_entries(wanted: WantedHost, journal: Iterable[Entry], rules: Iterable[Rule]) -> list[Entry]:
    """All that shall stand. What the journal has already keeps its form: a rule its priority, a setting its past."""
    known = {entry.identity: entry for entry in journal}
    entries: list[Entry] = []
    for entry in _entries(wanted, list(known.values()), list(rules)):
        replaced = isinstance(entry, FirewallEntry)  # always made anew, as a whole
        entries.append(entry if replaced else known.get(entry.identity, entry))
    return list({entry.identity: entry for entry in entries}.values())


def _entries(wanted: WantedHost, journal: list[Entry], rules: list[Rule]) -> Iterator[Entry]:
    for address in sorted(wanted.addresses, key=str):
        yield AddressEntry(text=str(address))
    for route in sorted(wanted.routes, key=str):
        yield RouteEntry(text=str(route), table=RT_TABLE_MAIN)
    chains = firewall.ruleset(wanted)
    if chains:  # before the settings: nothing is forwarded without it
        yield FirewallEntry(table=firewall.table_name(wanted.interface), rules=chains)
    if wanted.forwarding is not None:
        yield from (entry for entry in journal if isinstance(entry, SysctlEntry) and entry.purpose == FORWARDING)
        yield from forwarding_settings(wanted.forwarding.sources)
    if wanted.exit_routing is not None:
        yield from _exit_entries(wanted.exit_routing, journal, rules)


def _exit_entries(routing: ExitRouting, journal: list[Entry], rules: list[Rule]) -> Iterator[Entry]:
    """As wg-quick has it; the rule that sends traffic into the tunnel comes last."""
    yield from (entry for entry in journal if isinstance(entry, SysctlEntry) and entry.purpose == _EXIT)
    mark_check = sysctl.read(SRC_VALID_MARK)
    if mark_check == "0":
        yield SysctlEntry(path=SRC_VALID_MARK, value="1", expected="1", previous=mark_check, purpose=_EXIT)
    for version in sorted(routing.families):
        yield RouteEntry(text=_DEFAULT_ROUTES[version], table=routing.table)
    for version in sorted(routing.families):
        first = _first_free_priority(version, rules)
        yield RuleEntry(version=version, table=RT_TABLE_MAIN, fwmark=None, priority=first)
        yield RuleEntry(version=version, table=routing.table, fwmark=routing.fwmark, priority=first + 1)


def _first_free_priority(version: int, rules: list[Rule]) -> int:
    """The first of two priorities before all rules but the kernel's first one, which is for local addresses."""
    priorities = (rule.priority for rule in rules if rule.family == FAMILIES[version] and rule.priority > 0)
    return max(1, min(priorities, default=_MAIN_RULE_PRIORITY) - _RULES_A_FAMILY)

"""The single steps that change a Linux host: for each journal entry, whether it stands, how to make it, how to undo it.

Making what stands and undoing what is gone are no errors: a crash may have come between a step and its note.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from socket import AF_INET, AF_INET6
from typing import Final

from wireguard_mesh.model.errors import NotFound
from wireguard_mesh.netlink.connection import NetlinkError
from wireguard_mesh.netlink.records import (
    LinkAddress,
    Route,
    Rule,
    family_of,
)
from wireguard_mesh.netlink.rtnetlink import Rtnetlink
from wireguard_mesh.system import firewall, sysctl
from wireguard_mesh.system.journal import AddressEntry, Entry, FirewallEntry, RouteEntry, RuleEntry, SysctlEntry

FAMILIES: Final = {4: AF_INET, 6: AF_INET6}
_ABSENT: Final = frozenset(
    {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EOPNOTSUPP}
)


def to_rule(entry: RuleEntry) -> Rule:
    """The kernel's record of a rule."""
    return Rule(
        family=FAMILIES[entry.version],
        priority=entry.priority,
        table=entry.table,
        fwmark=entry.fwmark,
        invert=entry.fwmark is not None,
        suppress_prefixlength=0 if entry.fwmark is None else None,
    )


class Steps:
    """The steps for one interface, one after the other. `link` is its index, None if it is gone or not ours."""

    def __init__(self, routing: Rtnetlink, link: int | None) -> None:
        self._routing = routing
        self._link = link

    def stands(self, entry: Entry) -> bool:
        """Whether the host is as the entry says."""
        match entry:
            case AddressEntry():
                return any(
                    address.index == self._link and address.interface == entry.address
                    for address in self._routing.addresses()
                )
            case RouteEntry():
                family = family_of(entry.destination)
                return self._link is not None and any(
                    route.link == self._link and route.destination == entry.destination
                    for route in self._routing.routes(family, entry.table)
                )
            case RuleEntry():
                return to_rule(entry) in self._routing.rules()
            case SysctlEntry():
                # A side effect is never there by itself: it is ours to note, and making it does nothing.
                return entry.value is not None and sysctl.read(entry.path) == entry.value
            case FirewallEntry():
                return firewall.table_stands(entry.table)

    async def make(self, entry: Entry) -> None:
        """Make the host as the entry says. Raises `NetlinkError`, or a `MeshError`."""
        match entry:
            case AddressEntry():
                with _tolerating(errno.EEXIST):
                    self._routing.add_address(LinkAddress(self._require_link(), entry.address))
            case RouteEntry():
                with _tolerating(errno.EEXIST):
                    self._routing.add_route(Route(entry.destination, entry.table, self._require_link()))
            case RuleEntry():
                with _tolerating(errno.EEXIST):
                    self._routing.add_rule(to_rule(entry))
            case SysctlEntry():
                if entry.value is not None:
                    sysctl.write(entry.path, entry.value)
            case FirewallEntry():
                await firewall.load(entry.rules)

    async def undo(self, entry: Entry) -> None:
        """Take back what the entry says. Raises `NetlinkError`, or a `MeshError`."""
        match entry:
            case AddressEntry() | RouteEntry():
                if self._link is not None:  # else they went with the interface
                    self._undo_on_link(entry, self._link)
            case RuleEntry():
                with _tolerating(*_ABSENT):
                    self._routing.delete_rule(to_rule(entry))
            case SysctlEntry():
                if sysctl.read(entry.path) == entry.expected != entry.previous:
                    sysctl.write(entry.path, entry.previous)
            case FirewallEntry():
                if firewall.table_stands(entry.table):
                    await firewall.load(firewall.deletion(entry.table))

    def _undo_on_link(self, entry: AddressEntry | RouteEntry, index: int) -> None:
        with _tolerating(*_ABSENT):
            if isinstance(entry, AddressEntry):
                self._routing.delete_address(LinkAddress(index, entry.address))
            else:
                self._routing.delete_route(Route(entry.destination, entry.table, index))

    def _require_link(self) -> int:
        if self._link is None:
            raise NotFound("the interface is gone")
        return self._link


@contextlib.contextmanager
def _tolerating(*codes: int) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.errno not in codes:
            raise

"""The host's network on Linux: rtnetlink, /proc/sys and nftables, with a journal of all that was changed."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Final

import msgspec

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import MeshError, NotFound, Unavailable
from wireguard_mesh.model.hosts import ExitRouting, LocalAddress, WantedHost
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.places import runtime_directory
from wireguard_mesh.netlink.connection import NetlinkError
from wireguard_mesh.netlink.records import (
    IFF_UP,
    RT_TABLE_MAIN,
    Link,
)
from wireguard_mesh.netlink.rtnetlink import Rtnetlink
from wireguard_mesh.system import firewall, local, sysctl
from wireguard_mesh.system.interface import LinkEvent
from wireguard_mesh.system.journal import (
    AddressEntry,
    Entry,
    FirewallEntry,
    Journal,
    RouteEntry,
    RuleEntry,
    journaled_interfaces,
)
from wireguard_mesh.system.plan import check_overlap, wanted_entries, without_ipv6
from wireguard_mesh.system.steps import Steps
from wireguard_mesh.system.watch import watch

DEFAULT_MTU: Final = 1500  # Ethernet's
_log = logging.getLogger(__name__)


class LinuxSystem:
    """The network namespace where it is first used. `directory` holds the journals."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or Path(runtime_directory(os.getuid(), os.environ.get("XDG_RUNTIME_DIR")))
        self._journals: dict[InterfaceName, Journal] = {}
        self._netlink: Rtnetlink | None = None
        self._said_no_ipv6 = False

    async def prepare(self, interface: InterfaceName) -> None:
        """See `System.prepare`."""
        journal = self._journal(interface)
        journal.write(journal.entries)

    async def owns(self, interface: InterfaceName, *, has_key: bool) -> bool:
        """See `System.owns`. Linux gives an index to one interface only."""
        journal = self._journal(interface)
        if journal.link is None:
            return journal.exists and not has_key
        return journal.link == self._index(interface)

    async def exists(self, interface: InterfaceName) -> bool:
        """See `System.exists`."""
        return self._index(interface) is not None

    def _index(self, interface: InterfaceName) -> int | None:
        try:
            link = self._routing().link(interface)
        except NetlinkError as error:
            raise error.as_mesh_error("the interfaces cannot be read") from error
        return link.index if link else None

    async def apply(self, wanted: WantedHost) -> MeshError | None:
        """See `System.apply`. A second one with the same values writes nothing."""
        try:
            return await self._apply(wanted)
        except NetlinkError as error:
            raise _mesh_error(wanted.interface, error) from error

    async def _apply(self, wanted: WantedHost) -> MeshError | None:
        link = self._routing().link(wanted.interface)
        if link is None:
            raise NotFound(f"there is no interface {wanted.interface}")
        if sysctl.read(f"net/ipv6/conf/{wanted.interface}/disable_ipv6") != "0":
            wanted = without_ipv6(wanted)
            self._say_no_ipv6(wanted.interface)
        routes = [route for family in (AF_INET, AF_INET6) for route in self._routing().routes(family, RT_TABLE_MAIN)]
        check_overlap(wanted, link.index, routes)
        self._set_link(link, wanted.mtu)
        if wanted.exit_routing is not None:
            table = self._exit_table(wanted.exit_routing, self._journal(wanted.interface).entries, link.index)
            routing = msgspec.structs.replace(wanted.exit_routing, table=table)
            wanted = msgspec.structs.replace(wanted, exit_routing=routing)
        return await self._apply_entries(wanted, link.index)

    def _exit_table(self, routing: ExitRouting, noted: Iterable[Entry], link: int) -> int:
        """The table that we have, or the first from the wanted one on that nobody else, another mesh say, has."""
        own = (entry.table for entry in noted if isinstance(entry, RouteEntry) and entry.table != RT_TABLE_MAIN)
        table = next(own, None)
        if table is not None:
            return table
        table = routing.table
        while any(
            route.link != link for family in (AF_INET, AF_INET6) for route in self._routing().routes(family, table)
        ):
            table += 1
        return table

    async def _apply_entries(self, wanted: WantedHost, link: int) -> MeshError | None:
        journal, steps = self._journal(wanted.interface), Steps(self._routing(), link)
        before = {entry.identity: entry for entry in journal.entries}
        entries = wanted_entries(wanted, journal.entries, self._routing().rules())
        # What stands without us having made it is not ours to undo.
        ours = [entry for entry in entries if entry.identity in before or not steps.stands(entry)]
        kept = {entry.identity for entry in ours}
        unwanted = [entry for entry in journal.entries if entry.identity not in kept]
        changed = [entry for entry in ours if isinstance(entry, FirewallEntry) and before.get(entry.identity) != entry]
        # What is to be undone stays noted until it is. Rules that are not loaded yet are noted as none.
        pending = [msgspec.structs.replace(entry, rules="") if entry in changed else entry for entry in ours]
        journal.write([*unwanted, *pending], link)
        fault: MeshError | None = None
        for entry in [*reversed(unwanted), *ours]:
            if fault is not None and not _is_base(entry):
                continue  # each step of exit routing and forwarding needs those before it
            try:
                if entry in unwanted:
                    await steps.undo(entry)
                elif entry in changed or not steps.stands(entry):
                    await steps.make(entry)
            except (NetlinkError, MeshError) as error:
                if _is_base(entry):
                    raise
                fault = _mesh_error(wanted.interface, error) if isinstance(error, NetlinkError) else error
        if fault is None:  # else all stays noted, and `undo` finds out what of it stands
            journal.write(ours, link)
        return fault

    def _set_link(self, link: Link, mtu: int) -> None:
        if link.mtu != mtu:
            self._routing().set_mtu(link.index, mtu)
        if not link.flags & IFF_UP:
            self._routing().set_up(link.index)

    async def undo(self, interface: InterfaceName) -> bool:
        """See `System.undo`."""
        journal = self._journal(interface)
        is_known, link = journal.exists, self._index(interface)
        steps = Steps(self._routing(), link if link == journal.link else None)
        # The table's name proves it ours, though the journal be lost.
        table = FirewallEntry(table=firewall.table_name(interface), rules="")
        try:
            for entry in reversed(journal.entries):
                await steps.undo(entry)
            if steps.stands(table):
                await steps.undo(table)
                is_known = True
        except NetlinkError as error:
            raise _mesh_error(interface, error) from error
        journal.forget()
        return is_known

    async def local_addresses(self) -> list[LocalAddress]:
        """See `System.local_addresses`."""
        try:
            return local.local_addresses(self._routing(), journaled_interfaces(self._directory))
        except NetlinkError as error:
            raise error.as_mesh_error("the addresses cannot be read") from error

    async def path_mtu(self, destination: Address) -> int:
        """See `System.path_mtu`. Asks as WireGuard's own packets go: past exit routing of ours."""
        try:
            return local.path_mtu(self._routing(), destination, self._fwmark()) or DEFAULT_MTU
        except NetlinkError:
            return DEFAULT_MTU

    def watch(self, interface: InterfaceName) -> AsyncIterator[LinkEvent]:
        """See `System.watch`."""
        return watch(interface, own_port=self._routing().port)

    async def close(self) -> None:
        """See `System.close`."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def _fwmark(self) -> int:
        journaled: Iterable[Entry] = (entry for journal in self._journals.values() for entry in journal.entries)
        return next((entry.fwmark for entry in journaled if isinstance(entry, RuleEntry) and entry.fwmark), 0)

    def _journal(self, interface: InterfaceName) -> Journal:
        if interface not in self._journals:
            self._journals[interface] = Journal(self._directory, interface)
        return self._journals[interface]

    def _routing(self) -> Rtnetlink:
        if self._netlink is None:
            try:
                self._netlink = Rtnetlink()
            except OSError as error:
                raise Unavailable(f"no netlink socket: {error.strerror}") from None
        return self._netlink

    def _say_no_ipv6(self, interface: InterfaceName) -> None:
        if not self._said_no_ipv6:
            self._said_no_ipv6 = True
            _log.info("IPv6 is off on this machine, so the mesh has IPv4 only interface=%s", interface)


def _is_base(entry: Entry) -> bool:
    """Whether the mesh needs it, and not only exit routing or forwarding."""
    return isinstance(entry, AddressEntry) or (isinstance(entry, RouteEntry) and entry.table == RT_TABLE_MAIN)


def _mesh_error(interface: InterfaceName, error: NetlinkError) -> MeshError:
    return error.as_mesh_error(f"the network of {interface} cannot be set")

"""The lab: where hosts, switches and routers are made, and from where all of them vanish."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from lab import logs, nat, sweep
from lab.errors import LabError
from lab.host import Host
from lab.machine import Keeper
from lab.network import Link, Switch, make_switch
from lab.router import LAN, WAN, Router

_LONGEST_INTERFACE_NAME = 15  # IFNAMSIZ less the final zero byte, <linux/if.h>
# A full mesh of n hosts holds n * (n - 1) neighbour entries, and the kernel has one table for all namespaces.
_HOSTS_BEFORE_LARGE_TABLE = 20
_Made = TypeVar("_Made", bound=Host)
_NEIGHBOUR_LIMITS = {"gc_thresh2": 8192, "gc_thresh3": 16384}


class Lab:
    """Hosts, switches and routers as network namespaces. Use it in a `with` statement, as root, on Linux.

    When the block ends by an exception, all output of all programs is kept and the folder printed.
    """

    def __init__(self, name: str = "lab") -> None:
        if os.geteuid() != 0:
            raise LabError("the lab makes network namespaces and must run as root")
        self.name = name
        self.hosts: dict[str, Host] = {}
        self._switches = 0
        self._ports = 0
        sweep.sweep()
        self.folder = sweep.make_folder()
        self._keeper = Keeper()
        self._fabric = self._keeper.make("fabric")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self.keep_logs()
        finally:
            self.close()

    def switch(self, name: str, *prefixes: str) -> Switch:
        """A network segment with one or more prefixes, such as `"192.0.2.0/24", "2001:db8:1::/64"`."""
        self._switches += 1
        return make_switch(name, self._switches, self._fabric, prefixes)

    def host(self, name: str, *switches: Switch) -> Host:
        """A host with a link to each of the switches: `eth0`, `eth1`…"""
        return self._host(Host, name, {f"eth{number}": switch for number, switch in enumerate(switches)})

    def router(self, name: str, inside: Switch, outside: Switch, kind: str = nat.PLAIN) -> Router:
        """A router with the interfaces `lan` and `wan`; it is the default gateway of the hosts inside.

        A plain router forwards both ways, and the hosts outside have a route back. Any other kind
        (`lab.nat.KINDS`) translates IPv4, has a firewall, and nobody outside knows of what is inside;
        IPv6 is forwarded, and there is a route back, but only answers pass the firewall.
        """
        router = self._host(Router, name, {LAN: inside, WAN: outside})
        router.begin(kind, inside, outside)
        return router

    def keep_logs(self) -> Path:
        """Copy all that the hosts' programs wrote, and the hosts' state, and print where to."""
        kept = logs.keep(self.name, self.folder / "logs", self.hosts.values())
        print(f"\nlab: the output of all programs is kept in {kept}")
        return kept

    def close(self) -> None:
        """Kill everything in the lab, and remove its folder."""
        self._keeper.close()
        for host in self.hosts.values():
            host.close()
        self._fabric.close()
        self._keeper.wait()
        shutil.rmtree(self.folder)

    def _host(self, made: type[_Made], name: str, links: dict[str, Switch]) -> _Made:
        if name in self.hosts:
            raise LabError(f"there is a host {name} already")
        if len(self.hosts) == _HOSTS_BEFORE_LARGE_TABLE:
            _allow_many_neighbours()
        host = made(self._keeper.make(name), self.folder / "hosts" / name, self.folder / "logs" / name)
        self.hosts[name] = host
        for interface, switch in links.items():
            self._ports += 1
            Link(host, switch, interface, f"port{self._ports}"[:_LONGEST_INTERFACE_NAME])
        return host


def _allow_many_neighbours() -> None:
    """Raise the limits of the kernel's neighbour table, the one thing outside that a lab changes.

    They are seen only in the first network namespace: elsewhere a lab has to live with what is set. They are
    never lowered, since other labs may need them.
    """
    for family in ("ipv4", "ipv6"):
        for name, wanted in _NEIGHBOUR_LIMITS.items():
            setting = Path(f"/proc/sys/net/{family}/neigh/default/{name}")
            if setting.exists() and int(setting.read_text()) < wanted:
                setting.write_text(str(wanted))

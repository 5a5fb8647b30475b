"""Hosts for tests of the Linux backend: a namespace, its whole network state as text, and an agent's process."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from pathlib import Path

import msgspec

from lab.host import Host
from lab.lab import Lab
from wireguard_mesh.model.hosts import ExitRouting, Forwarding, WantedHost
from wireguard_mesh.model.names import InterfaceName

WG0 = InterfaceName("wg0")
IPV4_MESH = ip_network("10.100.0.0/16")
IPV6_MESH = ip_network("fd01:2345:6789::/64")
MEMBER = WantedHost(
    interface=WG0,
    mtu=1400,
    addresses=frozenset({ip_interface("10.100.0.7/16"), ip_interface("fd01:2345:6789::7/64")}),
    routes=frozenset({IPV4_MESH, IPV6_MESH}),
)
EXIT_USER = msgspec.structs.replace(
    MEMBER, exit_routing=ExitRouting(fwmark=51820, table=51820, families=frozenset({4, 6}))
)
EXIT_NODE = msgspec.structs.replace(MEMBER, forwarding=Forwarding(sources=frozenset({IPV4_MESH, IPV6_MESH})))
BOTH = msgspec.structs.replace(EXIT_USER, forwarding=EXIT_NODE.forwarding)

_SETTINGS = ("forwarding", "accept_redirects", "accept_ra", "src_valid_mark", "rp_filter")


@contextmanager
def inside(lab: Lab) -> Iterator[Host]:
    """A host with one uplink; this thread is in its network."""
    switch = lab.switch("net", "192.0.2.0/24", "2001:db8:1::/64")
    host = lab.host("one", switch)
    with host.machine.network():
        yield host


def tool(*command: str) -> str:
    """Run a tool where this thread is."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def add_interface(name: str = WG0) -> None:
    """What a WireGuard backend makes: here a cable to nowhere."""
    other = f"{name}-end"
    tool("ip", "link", "add", name, "type", "veth", "peer", "name", other)
    tool("ip", "link", "set", other, "up")


def delete_interface(name: str = WG0) -> None:
    """Remove it, if it stands."""
    subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def state() -> str:
    """All that this backend may change, with the interface gone as after `down`."""
    delete_interface()
    settings = [
        f"{path} = {path.read_text().strip()}"
        for version in ("ipv4", "ipv6")
        for folder in sorted(Path("/proc/sys/net", version, "conf").iterdir())
        for path in sorted(folder.iterdir())
        if path.name in _SETTINGS
    ]
    return "\n".join(
        [
            tool("ip", "-4", "rule"),
            tool("ip", "-6", "rule"),
            tool("ip", "-4", "route", "show", "table", "all"),
            tool("ip", "-6", "route", "show", "table", "all"),
            tool("ip", "-br", "address"),
            tool("nft", "list", "ruleset"),
            *settings,
        ]
    )


def in_child(run: Callable[[], None]) -> int:
    """Run in a forked process; what waitpid says of its end (0: well, 9: SIGKILL)."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]

"""A mesh in the lab: a server and clients that are started, killed and asked as a user would do it."""

import json
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from lab.errors import LabError
from lab.host import Host
from lab.lab import Lab
from lab.network import Switch
from lab.process import Process

INTERFACE = "wg0"
PORT = 8080
JOIN_TIMEOUT = 20.0  # seconds; an overloaded machine starts a Python program in some of them
_POLL_INTERVAL = 0.02  # seconds
_PING_SECONDS = 10
_LINK_LOCAL = "link"


class Server:
    """A host that runs `vpn-server`."""

    def __init__(self, host: Host, *flags: object) -> None:
        self.host = host
        self._flags = flags
        self.process = self._start()

    @property
    def url(self) -> str:
        return f"http://{self.host.ipv4}:{PORT}"

    def restart(self) -> None:
        """Start the server anew, after it ended or was killed."""
        self.process = self._start()

    def _start(self) -> Process:
        process = self.host.start("vpn-server", "-listen", f":{PORT}", *self._flags)
        process.wait_for(r"vpn-client -server http", JOIN_TIMEOUT)
        return process


class Client:
    """A host that runs `vpn-client`. `process` is the agent that was started last."""

    def __init__(
        self, host: Host, server: Server, *flags: object, url: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        self.host = host
        self._env = env
        self._url = url or server.url
        self._flags = flags
        self.process = self.start()

    @property
    def name(self) -> str:
        return self.host.name

    def start(self, *flags: object) -> Process:
        """Start the agent, anew or for the first time; `flags` are added to those of the client."""
        self.process = self.host.start("vpn-client", "-server", self._url, *self._flags, *flags, env=self._env)
        return self.process

    @property
    def ipv4(self) -> IPv4Address:
        """Its address in the mesh; waits until the interface has one."""
        return next(address for address in self.addresses() if isinstance(address, IPv4Address))

    @property
    def ipv6(self) -> IPv6Address:
        """Its address in the mesh; waits until the interface has one."""
        return next(address for address in self.addresses() if isinstance(address, IPv6Address))

    def addresses(self) -> list[IPv4Address | IPv6Address]:
        """Its two addresses in the mesh, as the kernel has them; waits until the interface has both."""
        deadline = time.monotonic() + JOIN_TIMEOUT
        while True:
            found = interface_addresses(self.host)
            if {address.version for address in found} == {4, 6}:
                return found
            if not self.process.running or time.monotonic() > deadline:
                raise LabError(f"{self.name} has no addresses in the mesh:\n{self.process.output()}")
            time.sleep(_POLL_INTERVAL)

    def status(self) -> dict[str, Any]:
        """What `vpn-client -status` prints."""
        found: dict[str, Any] = json.loads(self.host.run("vpn-client", "-status").stdout)
        return found

    def ping(self, *addresses: object) -> list[str]:
        """Ping each for some seconds if need be, once the interface is there; return those that did not answer."""
        self.addresses()
        return unanswered(self.host, addresses)


class Mesh:
    """A server and clients on one switch of a lab."""

    def __init__(self, lab: Lab, *flags: object) -> None:
        self.lab = lab
        self.lan: Switch = lab.switch("lan", "192.0.2.0/24", "2001:db8:1::/64")
        self.server = Server(lab.host("server", self.lan), *flags)
        self.clients: list[Client] = []

    def join(self, *names: str, flags: Iterable[object] = ()) -> list[Client]:
        """New hosts with agents, when the first of them all have their addresses and reach each other.

        They join in the order of their names, so that the first name has the first address.
        """
        new = []
        for name in names:
            client = Client(self.lab.host(name, self.lan), self.server, *flags)
            client.addresses()
            new.append(client)
        self.clients += new
        return new

    def unreachable(self) -> list[str]:
        """Each pair of clients that does not answer, as `a → address`; empty when all is well."""
        missing = []
        for client in self.clients:
            others = [address for other in self.clients if other is not client for address in other.addresses()]
            missing += [f"{client.name} → {address}" for address in client.ping(*others)]
        return missing


def interface_addresses(host: Host, interface: str = INTERFACE) -> list[IPv4Address | IPv6Address]:
    """The addresses of an interface but link-local ones, IPv4 first; none if there is no such interface."""
    links = json.loads(host.machine.tool(["ip", "-json", "address", "show"]))
    entries = [entry for link in links if link["ifname"] == interface for entry in link["addr_info"]]
    found = [ip_address(entry["local"]) for entry in entries if entry["scope"] != _LINK_LOCAL]
    return sorted(found, key=lambda address: address.version)


def unanswered(host: Host, addresses: Iterable[object]) -> list[str]:
    """Ping each address until it answers, for ten seconds at most; return those that never did."""
    targets = [str(address) for address in addresses]
    # Again and again, since ping itself gives up when a router says that it knows no way, as it does at first.
    script = f"""for address in "$@"; do
        end=$(($(date +%s) + {_PING_SECONDS}))
        until ping -n -q -c1 -W1 "$address" >/dev/null 2>&1; do
            if [ "$(date +%s)" -ge $end ]; then echo "$address"; break; fi
            sleep 0.05
        done
    done"""
    return host.run("sh", "-c", script, "sh", *targets, timeout=(_PING_SECONDS + 2) * len(targets)).stdout.split()

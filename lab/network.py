"""Switches and links.

All switches are bridges in one machine of their own, the fabric. A link is a veth pair from a host to a
port of the fabric. Nothing of it is in the network that the lab's owner is in.
"""

from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from lab.host import Host
    from lab.machine import Machine

LOSS_TABLE = "lab_loss"
_LOSS_STEPS = 10_000  # the finest loss is a hundredth of a percent


@dataclass(frozen=True, slots=True)
class Route:
    """A static route that each host of a switch gets, except the router itself. `prefix` may be `default`."""

    prefix: str
    via: IPv4Address | IPv6Address

    @property
    def command(self) -> str:
        default = "::/0" if self.via.version == 6 else "0.0.0.0/0"
        return f"route replace {default if self.prefix == 'default' else self.prefix} via {self.via}"


@dataclass(eq=False)
class Switch:
    """A network segment. Hosts get the lowest free address of each of its prefixes, in order of arrival."""

    name: str
    bridge: str
    fabric: "Machine"
    prefixes: tuple[IPv4Network | IPv6Network, ...]
    links: list["Link"] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    _next: int = 1

    def addresses(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """The next free host's addresses: with the same number in each prefix."""
        number, self._next = self._next, self._next + 1
        for prefix in self.prefixes:
            if number >= prefix.num_addresses - 1:
                raise LabError(f"switch {self.name} has no free address left in {prefix}")
        return tuple(ip_interface((prefix[number], prefix.prefixlen)) for prefix in self.prefixes)

    def add_route(self, route: Route) -> None:
        """Give a route to all hosts of the switch, present and future."""
        self.routes.append(route)
        for link in self.links:
            if not link.has(route.via):
                link.host.machine.ip(route.command)


def make_switch(name: str, number: int, fabric: "Machine", prefixes: tuple[str, ...]) -> Switch:
    bridge = f"sw{number}"
    fabric.ip(
        f"link add name {bridge} type bridge forward_delay 0 mcast_snooping 0",
        f"link set {bridge} up",
    )
    return Switch(name, bridge, fabric, tuple(ip_network(prefix) for prefix in prefixes))


class Link:
    """A cable between a host and a switch; `name` is the interface in the host."""

    def __init__(self, host: "Host", switch: Switch, name: str, port: str) -> None:
        self.host = host
        self.switch = switch
        self.name = name
        self.addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
        self._port = port
        switch.fabric.ip(
            f"link add name {port} type veth peer name {name} netns {host.machine.init}",
            f"link set {port} master {switch.bridge} up",
        )
        host.links.append(self)
        self._attach(f"link set lo up\nlink set {name} up")

    @property
    def ipv4(self) -> IPv4Address:
        for address in self.addresses:
            if isinstance(address, IPv4Interface):
                return address.ip
        raise LabError(f"{self.host.name} has no IPv4 address on {self.switch.name}")

    @property
    def ipv6(self) -> IPv6Address:
        for address in self.addresses:
            if isinstance(address, IPv6Interface):
                return address.ip
        raise LabError(f"{self.host.name} has no IPv6 address on {self.switch.name}")

    def has(self, address: IPv4Address | IPv6Address) -> bool:
        return any(own.ip == address for own in self.addresses)

    def down(self) -> None:
        """Pull the cable out of the switch: the host sees that the carrier is gone, and keeps its addresses."""
        self.switch.fabric.ip(f"link set {self._port} down")

    def up(self) -> None:
        """Put the cable back."""
        self.switch.fabric.ip(f"link set {self._port} up")

    def move(self, switch: Switch) -> None:
        """Pull the cable out and put it into another switch: the host has new addresses and new routes."""
        self.down()
        self.switch.links.remove(self)
        self.switch = switch
        self._attach(f"address flush dev {self.name} scope global\nroute flush dev {self.name} proto static")
        self.switch.fabric.ip(f"link set {self._port} master {switch.bridge} up")

    def lose(self, percent: float) -> None:
        """Drop so many of the packets that the host sends, and of those that it receives. 0 ends it."""
        steps = round(percent * _LOSS_STEPS / 100)
        drop = f"numgen random mod {_LOSS_STEPS} <= {steps - 1} drop"
        rules = f"table inet {LOSS_TABLE}_{self.name} {{}}\ndelete table inet {LOSS_TABLE}_{self.name}\n"
        if steps:
            rules += f"""table inet {LOSS_TABLE}_{self.name} {{
                chain received {{ type filter hook prerouting priority -500; iifname {self.name} {drop}; }}
                chain sent {{ type filter hook postrouting priority 500; oifname {self.name} {drop}; }}
            }}\n"""
        self.host.nft(rules)

    def netem(self, **settings: str) -> None:
        """Have the kernel's network emulator treat packets, each way alike: `netem(delay="40ms", loss="1%")`.

        The settings are those of tc-netem(8). Without settings the link is plain again. A delay of 40 ms makes
        a round trip of 80 ms. Raises `LabError` where the kernel has no netem.
        """
        ends = ((self.host.machine, self.name), (self.switch.fabric, self._port))
        for machine, interface in ends:
            if not settings:
                if "netem" in machine.tool(["tc", "qdisc", "show", "dev", interface]):
                    machine.tool(["tc", "qdisc", "del", "dev", interface, "root"])
                continue
            given = [word for name, value in settings.items() for word in (name, *value.split())]
            try:
                machine.tool(["tc", "qdisc", "replace", "dev", interface, "root", "netem", *given])
            except LabError as error:
                if "kind is unknown" not in str(error):
                    raise
                raise LabError(
                    "this kernel has no netem; such tests run in the User-Mode-Linux kernel, `make test-kernel`"
                ) from error

    def _attach(self, first: str) -> None:
        """Take addresses and routes of the switch."""
        self.addresses = self.switch.addresses()
        self.switch.links.append(self)
        addresses = [
            f"address add {address} dev {self.name}{' nodad' if address.version == 6 else ''}"
            for address in self.addresses
        ]
        self.host.machine.ip(*first.splitlines(), *addresses, *(r.command for r in self.switch.routes))

"""An exit node on WireGuard of the kernel: who seems to come from where, and that all of it can be taken back."""

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from lab import Host, Lab
from lab.mesh import Client, Server
from lab.state import network_state

_SYNC = 60
"""Seconds; what the agent does by default."""

_PORT = 80
_ECHO_ADDRESS = f"""
import socket
with socket.create_server(("::", {_PORT}), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("ready", flush=True)
    while True:
        connection, address, *_ = server.accept()
        with connection:
            connection.sendall(address[0].encode())
"""
_ASK_ADDRESS = f"""
import socket, sys
with socket.create_connection((sys.argv[1], {_PORT}), 5) as connection:
    print(connection.recv(99).decode())
"""

Address = IPv4Address | IPv6Address


class _World:
    """A home behind a NAT, and the internet with a server, an exit node and a web server."""

    def __init__(self, lab: Lab) -> None:
        internet = lab.switch("internet", "192.0.2.0/24", "2001:db8:1::/64")
        home = lab.switch("home", "172.20.0.0/24", "2001:db8:20::/64")
        self.router = lab.router("router", home, internet, "easy")
        self.server = Server(lab.host("server", internet))
        self.web = lab.host("web", internet)
        self.exit = lab.host("exit", internet)
        self.laptop = lab.host("laptop", home)
        self.printer = lab.host("printer", home)
        for host in (self.web, self.printer):
            host.start("python", "-c", _ECHO_ADDRESS).wait_for("ready")
        self.outside = self.router.links[1]

    @property
    def direct(self) -> list[Address | None]:
        """How the web server sees the laptop that goes out by itself: IPv6 is not translated."""
        return [self.outside.ipv4, self.laptop.ipv6]

    @property
    def by_exit(self) -> list[Address | None]:
        """How it does when the exit node goes for it."""
        return [self.exit.ipv4, self.exit.ipv6]

    def seen_by(self, whom: Host) -> list[Address | None]:
        """The addresses, IPv4 and IPv6, from which `whom` sees the laptop come; None where it does not arrive."""
        return [self._seen(whom.ipv4), self._seen(whom.ipv6)]

    def _seen(self, target: Address) -> Address | None:
        done = self.laptop.run("python", "-c", _ASK_ADDRESS, target, check=False)
        if done.returncode:
            return None
        address = ip_address(done.stdout.strip())
        return getattr(address, "ipv4_mapped", None) or address

    def web_sees(self, addresses: list[Address | None]) -> bool:
        return self.seen_by(self.web) == addresses


def _eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within two rounds of synchronisation."""
    deadline = time.monotonic() + 2 * _SYNC
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(5)
    return True


@pytest.fixture
def world(lab: Lab) -> _World:
    return _World(lab)


def test_traffic_leaves_by_the_exit_node_and_comes_home_again(world: _World) -> None:
    untouched = {host.name: network_state(host) for host in (world.laptop, world.exit)}
    assert world.web_sees(world.direct)

    exit_node = Client(world.exit, world.server, "-exit-node")
    exit_node.addresses()
    laptop = Client(world.laptop, world.server)  # `auto` is the default
    laptop.addresses()
    assert _eventually(lambda: world.web_sees(world.by_exit)), world.seen_by(world.web)
    assert world.seen_by(world.printer) == [world.laptop.ipv4, world.laptop.ipv6], "the home stays near"
    assert laptop.ping(exit_node.ipv4, exit_node.ipv6) == []

    laptop.process.kill()
    time.sleep(_SYNC)
    assert world.web_sees(world.by_exit), "the tunnel needs no agent"
    world.laptop.run("vpn-client", "down")
    assert world.web_sees(world.direct)
    assert network_state(world.laptop) == untouched["laptop"]

    exit_node.process.kill()
    world.exit.run("vpn-client", "down")
    assert network_state(world.exit) == untouched["exit"]


def test_an_exit_node_is_left_and_taken_at_will(world: _World) -> None:
    Client(world.exit, world.server, "-exit-node").addresses()
    laptop = Client(world.laptop, world.server, "-use-exit-node", "off")
    laptop.addresses()
    assert laptop.ping(world.exit.ipv4) == []
    time.sleep(2 * _SYNC)
    assert world.web_sees(world.direct), "off is off"
    world.laptop.run("vpn-client", "set", "-use-exit-node", "exit")
    assert _eventually(lambda: world.web_sees(world.by_exit))
    world.laptop.run("vpn-client", "set", "-use-exit-node", "off")
    assert _eventually(lambda: world.web_sees(world.direct))


def test_an_exit_node_that_dies_gives_the_laptop_its_own_way_back(world: _World) -> None:
    exit_node = Client(world.exit, world.server, "-exit-node")
    exit_node.addresses()
    Client(world.laptop, world.server).addresses()
    assert _eventually(lambda: world.web_sees(world.by_exit))
    exit_node.process.terminate()
    world.exit.run("vpn-client", "down", check=False)
    time.sleep(300)  # it is called offline, its tunnel is dead, and the map has said so
    assert world.web_sees(world.direct), world.seen_by(world.web)

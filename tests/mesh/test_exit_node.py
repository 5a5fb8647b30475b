"""An exit node carries the others' internet traffic, and all of it is undone on `down`."""

import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from lab import Host, Lab
from lab.mesh import Client, Server, unanswered
from lab.state import network_state

pytestmark = pytest.mark.lab

_WEB_PORT = 80
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10).recv(1)"
Address = IPv4Address | IPv6Address


class Web:
    """A server somewhere in the internet that tells from where it is visited."""

    def __init__(self, host: Host) -> None:
        self.host = host
        with host.machine.network():
            self._listener = socket.create_server(("::", _WEB_PORT), family=socket.AF_INET6, dualstack_ipv6=True)
        self._listener.settimeout(15)

    def sees(self, visitor: Host, address: Address) -> Address:
        """The source address of a TCP connection from `visitor` to `address`, which is one of the server's."""
        process = visitor.start(sys.executable, "-c", _CONNECT, address, _WEB_PORT)
        connection, source = self._listener.accept()
        connection.close()
        assert process.wait() == 0
        found = ip_address(source[0])
        return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found

    def sees_both(self, visitor: Host) -> tuple[Address, Address]:
        return self.sees(visitor, self.host.ipv4), self.sees(visitor, self.host.ipv6)

    def close(self) -> None:
        self._listener.close()


@dataclass(frozen=True, slots=True)
class Internet:
    """A server, an exit node and a web server in the internet; a laptop and a printer at home behind a NAT."""

    server: Server
    web: Web
    exit_host: Host
    laptop: Host
    printer: Host
    home: tuple[Address, Address]
    """As whom the web server sees the laptop when no mesh is between: the NAT, and the laptop's own IPv6."""

    @property
    def exit(self) -> tuple[Address, Address]:
        return self.exit_host.ipv4, self.exit_host.ipv6


@pytest.fixture
def internet(lab: Lab) -> Iterator[Internet]:
    segment = lab.switch("internet", "203.0.113.0/24", "2001:db8:ffff::/64")
    at_home = lab.switch("home", "192.168.1.0/24", "2001:db8:1::/64")
    router = lab.router("router", at_home, segment, kind="easy")
    laptop, printer = lab.host("laptop", at_home), lab.host("printer", at_home)
    server = Server(lab.host("server", segment))
    with closing(Web(lab.host("web", segment))) as web:
        yield Internet(
            server,
            web,
            lab.host("exit", segment),
            laptop,
            printer,
            home=(router.links[1].ipv4, laptop.ipv6),
        )


def test_traffic_leaves_at_the_exit_node_until_down(internet: Internet) -> None:
    untouched = network_state(internet.laptop), network_state(internet.exit_host)
    assert internet.web.sees_both(internet.laptop) == internet.home

    exit_node = Client(internet.exit_host, internet.server, "-exit-node")
    assert exit_node.addresses()
    laptop = Client(internet.laptop, internet.server, "-use-exit-node", "off")
    assert laptop.ping(*exit_node.addresses()) == []
    assert internet.web.sees_both(internet.laptop) == internet.home

    laptop.host.run("vpn-client", "set", "-use-exit-node", "auto")
    assert _until_exit(internet) == internet.exit
    # Home stays at hand, and what stands between agent and server does not go through the tunnel.
    assert unanswered(laptop.host, [internet.printer.ipv4, internet.printer.ipv6]) == []
    assert laptop.ping(*exit_node.addresses()) == []

    laptop.process.kill()
    assert internet.web.sees_both(internet.laptop) == internet.exit

    laptop.host.run("vpn-client", "down")
    assert internet.web.sees_both(internet.laptop) == internet.home
    assert network_state(internet.laptop) == untouched[0]
    exit_node.process.kill()
    exit_node.host.run("vpn-client", "down")
    assert network_state(internet.exit_host) == untouched[1]


def test_by_default_a_client_takes_the_exit_node_that_is_there(internet: Internet) -> None:
    exit_node = Client(internet.exit_host, internet.server, "-exit-node")
    assert exit_node.addresses()
    Client(internet.laptop, internet.server)
    assert _until_exit(internet) == internet.exit


def _until_exit(internet: Internet) -> tuple[Address, Address]:
    """What the web server sees, once that is no longer the home, or after enough tries."""
    seen = internet.home
    for _ in range(20):
        seen = internet.web.sees_both(internet.laptop)
        if seen == internet.exit:
            break
    return seen

"""An internet in small: a web server that tells from where it is visited, and a home behind a NAT."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from lab.host import Host
from lab.lab import Lab
from lab.mesh import Server

_WEB_PORT = 80
_EXIT_TIMEOUT = 30.0  # seconds; a first handshake that is lost costs 5 of them
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
        """The same by IPv4 and by IPv6."""
        return self.sees(visitor, self.host.ipv4), self.sees(visitor, self.host.ipv6)

    def close(self) -> None:
        """Serve no longer."""
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
        """As whom the web server sees the laptop when its traffic leaves at the exit node."""
        return self.exit_host.ipv4, self.exit_host.ipv6

    def until_exit(self) -> tuple[Address, Address]:
        """What the web server sees, once that is the exit node, or at the end of a deadline."""
        deadline = time.monotonic() + _EXIT_TIMEOUT
        seen = self.web.sees_both(self.laptop)
        while seen != self.exit and time.monotonic() < deadline:
            seen = self.web.sees_both(self.laptop)
        return seen


@contextmanager
def internet(lab: Lab) -> Iterator[Internet]:
    """All its hosts; the server runs."""
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

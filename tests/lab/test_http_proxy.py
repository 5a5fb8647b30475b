"""The lab's HTTP proxy passes on what browsers and agents ask of one."""

import socket
import sys
from contextlib import closing

import pytest

from lab import Host, Lab
from lab.nat import PROXY_PORT
from lab.wide_mesh import Proxy

pytestmark = pytest.mark.lab

_TIMEOUT = 5.0  # seconds


@pytest.fixture
def hosts(lab: Lab) -> tuple[Host, Host, Proxy]:
    """A visitor, a web server and a proxy."""
    lan = lab.switch("lan", "192.0.2.0/24")
    visitor, web, proxy = (lab.host(name, lan) for name in ("visitor", "web", "proxy"))
    web.start(sys.executable, "-m", "http.server", 80).wait_for("Serving HTTP")
    return visitor, web, Proxy(proxy)


def _ask(visitor: Host, proxy: Proxy, *parts: str) -> str:
    """What comes back when these are sent, each after the answer to the one before."""
    address = proxy.environment["https_proxy"].removeprefix("http://").rpartition(":")[0]
    with visitor.machine.network():
        connection = socket.create_connection((address, PROXY_PORT), timeout=_TIMEOUT)
    received = ""
    with closing(connection):
        for part in parts:
            connection.sendall(part.encode())
            received += connection.recv(65536).decode()
    return received


def test_a_tunnel(hosts: tuple[Host, Host, Proxy]) -> None:
    visitor, web, proxy = hosts
    tunnel = f"CONNECT {web.ipv4}:80 HTTP/1.1\r\nHost: {web.ipv4}:80\r\n\r\n"
    said = _ask(visitor, proxy, tunnel, "HEAD / HTTP/1.0\r\n\r\n")
    assert said.startswith("HTTP/1.1 200 Connection established\r\n\r\n")
    assert "SimpleHTTP" in said
    proxy.process.wait_for(f"CONNECT {web.ipv4}:80")


def test_an_absolute_target(hosts: tuple[Host, Host, Proxy]) -> None:
    visitor, web, proxy = hosts
    assert "SimpleHTTP" in _ask(
        visitor, proxy, f"HEAD http://{web.ipv4}/?x=1 HTTP/1.0\r\nProxy-Connection: close\r\n\r\n"
    )
    proxy.process.wait_for(f"HEAD http://{web.ipv4}/")


@pytest.mark.parametrize("target", ["192.0.2.99:81", "192.0.2.2:81", "nonsense"])
def test_what_cannot_be_reached_is_a_bad_gateway(hosts: tuple[Host, Host, Proxy], target: str) -> None:
    visitor, _web, proxy = hosts
    assert _ask(visitor, proxy, f"CONNECT {target} HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 502 Bad Gateway")

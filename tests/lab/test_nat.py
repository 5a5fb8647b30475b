"""NAT routers do what their kind says: seen with plain UDP sockets."""

import socket
from ipaddress import IPv4Address

import pytest

from lab import Host, Lab

pytestmark = pytest.mark.lab

_TIMEOUT = 2.0  # seconds for a packet that must come
_SILENCE = 0.2  # seconds in which a packet must not come


def _socket(host: Host, port: int) -> socket.socket:
    with host.machine.network():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", port))
    made.settimeout(_TIMEOUT)
    return made


def _source(sender: socket.socket, receiver: socket.socket, host: Host) -> tuple[str, int]:
    """The source that `receiver` on `host` sees of a packet from `sender`."""
    sender.sendto(b"x", (str(host.ipv4), receiver.getsockname()[1]))
    address, port = receiver.recvfrom(1)[1]
    return address, port


def test_easy_nat_keeps_the_port_for_all_and_lets_only_answers_in(lab: Lab) -> None:
    internet, lan = lab.switch("internet", "203.0.113.0/24"), lab.switch("lan", "192.168.1.0/24")
    x, y = lab.host("x", internet), lab.host("y", internet)
    nat = lab.router("nat", lan, internet, kind="easy")
    a = lab.host("a", lan)
    outer: IPv4Address = nat.links[1].ipv4
    with _socket(a, 5000) as inside, _socket(x, 7000) as on_x, _socket(y, 7000) as on_y:
        # A packet that comes too early is dropped and leaves no trace in conntrack that would change the port.
        on_y.sendto(b"early", (str(outer), 5000))
        assert _source(inside, on_x, x) == (str(outer), 5000)
        assert _source(inside, on_y, y) == (str(outer), 5000)
        on_x.sendto(b"answer", (str(outer), 5000))
        assert inside.recv(10) == b"answer"
        with _socket(x, 7001) as other_port:
            other_port.sendto(b"unasked", (str(outer), 5000))
            inside.settimeout(_SILENCE)
            with pytest.raises(TimeoutError):
                inside.recv(10)


def test_a_second_host_with_the_same_port_gets_another(lab: Lab) -> None:
    internet, lan = lab.switch("internet", "203.0.113.0/24"), lab.switch("lan", "192.168.1.0/24")
    x = lab.host("x", internet)
    lab.router("nat", lan, internet, kind="easy")
    a, b = lab.host("a", lan), lab.host("b", lan)
    with _socket(a, 5000) as from_a, _socket(b, 5000) as from_b, _socket(x, 7000) as on_x:
        assert _source(from_a, on_x, x)[1] == 5000
        assert _source(from_b, on_x, x)[1] != 5000


def test_ipv6_passes_a_nat_untranslated_but_only_when_asked_for(lab: Lab) -> None:
    internet = lab.switch("internet", "203.0.113.0/24", "2001:db8:ffff::/64")
    lan = lab.switch("lan", "192.168.1.0/24", "2001:db8:1::/64")
    x = lab.host("x", internet)
    lab.router("nat", lan, internet, kind="easy")
    a = lab.host("a", lan)
    assert a.run("ping", "-n", "-c1", "-W2", x.ipv6).returncode == 0
    assert x.run("ping", "-n", "-c1", "-W1", a.ipv6, check=False).returncode != 0

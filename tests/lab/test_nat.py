"""NAT routers do what their kind says: seen with plain UDP sockets."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab import Host, Lab, LabError, Router
from lab.nat import KINDS
from lab.places import Places

pytestmark = pytest.mark.lab

_TIMEOUT = 2.0  # seconds for a packet that must come
_SILENCE = 0.2  # seconds in which a packet must not come
_PORT = 5000

Source = tuple[str, int]


class _Sockets:
    """UDP sockets in hosts, and what comes to them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def open(self, host: Host, port: int = _PORT, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        with host.machine.network():
            made = self._stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            made.bind(("", port))
        made.settimeout(_TIMEOUT)
        return made

    def source(self, sender: socket.socket, receiver: socket.socket, host: Host) -> Source:
        """The source that `receiver` on `host` sees of a packet from `sender`."""
        sender.sendto(b"x", (str(host.ipv4), receiver.getsockname()[1]))
        address, port = receiver.recvfrom(1)[1]
        return address, port


@pytest.fixture
def sockets() -> Iterator[_Sockets]:
    with ExitStack() as stack:
        yield _Sockets(stack)


def _passes(sender: socket.socket, to: Source, receiver: socket.socket) -> bool:
    """Whether what is sent there comes to the receiver."""
    sender.sendto(b"unasked", to)
    receiver.settimeout(_SILENCE)
    try:
        return receiver.recv(10) == b"unasked"
    except TimeoutError:
        return False
    finally:
        receiver.settimeout(_TIMEOUT)


class _Scene:
    """A home behind a router, with two machines in the internet that talk to it from two ports each."""

    def __init__(self, lab: Lab, sockets: _Sockets, kind: str) -> None:
        places = Places(lab)
        place = places.place(kind)
        self.sockets = sockets
        self.router: Router = place.router
        self.outer = str(self.router.ends.address)
        self.x, self.y = places.public("x"), places.public("y")
        self.a = place.host("a")
        self.inside = sockets.open(self.a)
        self.x1, self.x2 = sockets.open(self.x, 7000), sockets.open(self.x, 7001)
        self.y1, self.y2 = sockets.open(self.y, 7000), sockets.open(self.y, 7001)

    def sources(self) -> list[Source]:
        """As whom the inner machine's port is seen by each of the four."""
        others = ((self.x1, self.x), (self.x2, self.x), (self.y1, self.y), (self.y2, self.y))
        return [self.sockets.source(self.inside, other, host) for other, host in others]


@pytest.mark.parametrize("kind", ["easy", "full-cone", "address-filtering", "hairpin", "short"])
def test_endpoint_independent_mapping_keeps_the_port(lab: Lab, sockets: _Sockets, kind: str) -> None:
    scene = _Scene(lab, sockets, kind)
    assert set(scene.sources()) == {(scene.outer, _PORT)}


def test_port_changing_has_another_port_and_the_same_for_all(lab: Lab, sockets: _Sockets) -> None:
    scene = _Scene(lab, sockets, "port-changing")
    ((address, port),) = set(scene.sources())
    assert address == scene.outer
    assert port != _PORT


@pytest.mark.parametrize("kind", ["hard", "v6-firewall"])
def test_a_hard_nat_has_another_port_for_each_destination(lab: Lab, sockets: _Sockets, kind: str) -> None:
    scene = _Scene(lab, sockets, kind)
    seen = scene.sources()
    assert {address for address, _port in seen} == {scene.outer}
    assert len(set(seen)) == len(seen)
    assert scene.sources() == seen  # and each keeps its own


@pytest.mark.parametrize(
    ("kind", "other_port", "other_address"),
    [
        ("easy", False, False),
        ("hard", False, False),
        ("port-changing", False, False),
        ("hairpin", False, False),
        ("address-filtering", True, False),
        ("full-cone", True, True),
    ],
)
def test_filtering(lab: Lab, sockets: _Sockets, kind: str, other_port: bool, other_address: bool) -> None:
    scene = _Scene(lab, sockets, kind)
    # A packet that comes too early is dropped and leaves no trace in conntrack that would change the port.
    assert not _passes(scene.y1, (scene.outer, _PORT), scene.inside)
    outer = scene.sockets.source(scene.inside, scene.x1, scene.x)
    assert _passes(scene.x1, outer, scene.inside)
    assert _passes(scene.x2, outer, scene.inside) == other_port
    assert _passes(scene.y1, outer, scene.inside) == other_address


def test_a_second_host_with_the_same_port_gets_another(lab: Lab, sockets: _Sockets) -> None:
    places = Places(lab)
    place, x = places.place("easy"), places.public("x")
    on_x = sockets.open(x, 7000)
    assert sockets.source(sockets.open(place.host("a")), on_x, x)[1] == _PORT
    assert sockets.source(sockets.open(place.host("b")), on_x, x)[1] != _PORT


@pytest.mark.parametrize(("kind", "passes"), [("easy", False), ("hairpin", True)])
def test_hairpin(lab: Lab, sockets: _Sockets, kind: str, passes: bool) -> None:
    places = Places(lab)
    place, x = places.place(kind), places.public("x")
    on_x, a, b = sockets.open(x, 7000), sockets.open(place.host("a"), 5001), sockets.open(place.host("b"), 5002)
    outer = {port: sockets.source(inside, on_x, x) for port, inside in ((5001, a), (5002, b))}
    b.sendto(b"first", outer[5001])
    a.settimeout(_TIMEOUT if passes else _SILENCE)
    if not passes:
        with pytest.raises(TimeoutError):
            a.recv(10)
        return
    assert a.recvfrom(10) == (b"first", outer[5002])
    a.sendto(b"answer", outer[5002])
    assert b.recvfrom(10) == (b"answer", outer[5001])


@pytest.mark.parametrize("kind", ["cgnat", "easy"])
def test_a_carrier_s_nat_is_the_second_of_two(lab: Lab, sockets: _Sockets, kind: str) -> None:
    places = Places(lab)
    place = places.place(kind)
    x = places.public("x")
    inside, on_x = sockets.open(place.host("a")), sockets.open(x, 7000)
    outermost = place.routers[-1]
    assert len(place.routers) == (2 if kind == "cgnat" else 1)
    assert sockets.source(inside, on_x, x) == (str(outermost.ends.address), _PORT)
    assert _passes(on_x, (str(outermost.ends.address), _PORT), inside)


def test_two_homes_of_a_carrier_reach_each_other_only_by_its_hairpin(lab: Lab, sockets: _Sockets) -> None:
    places = Places(lab)
    x = places.public("x")
    on_x = sockets.open(x, 7000)
    for number, (kind, passes) in enumerate((("easy", False), ("hairpin", True))):
        carrier = places.carrier(kind)
        a, b = (
            sockets.open(places.place("easy", carrier).host(f"{name}{number}"), port)
            for name, port in (("a", 5001), ("b", 5002))
        )
        outer_a, outer_b = sockets.source(a, on_x, x), sockets.source(b, on_x, x)
        a.sendto(b"opens", outer_b)
        assert _passes(b, outer_a, a) == passes


def test_udp_is_blocked_and_opened_and_tcp_passes(lab: Lab, sockets: _Sockets) -> None:
    places = Places(lab)
    place, x = places.place("udp-blocked"), places.public("x")
    a = place.host("a")
    inside, on_x = sockets.open(a), sockets.open(x, 7000)
    for _ in range(2):
        assert not _passes(inside, (str(x.ipv4), 7000), on_x)
        assert _connects(a, x, 80)
        place.router.allow_udp()
        assert _passes(inside, (str(x.ipv4), 7000), on_x)
        place.router.block_udp()


def test_only_tcp_to_the_proxy_passes_a_proxied_router(lab: Lab, sockets: _Sockets) -> None:
    places = Places(lab)
    a, x = places.host("a", "proxied"), places.public("x")
    inside, on_x = sockets.open(a), sockets.open(x, 7000)
    assert not _passes(inside, (str(x.ipv4), 7000), on_x)
    assert _connects(a, x, 3128)
    assert not _connects(a, x, 8080)
    assert a.run("ping", "-n", "-c1", "-W1", x.ipv4, check=False).returncode != 0


def _connects(visitor: Host, host: Host, port: int) -> bool:
    """Whether a TCP connection comes about."""
    with host.machine.network(), socket.create_server((str(host.ipv4), port)), visitor.machine.network():
        try:
            socket.create_connection((str(host.ipv4), port), timeout=_TIMEOUT).close()
        except TimeoutError:
            return False
        return True


def test_a_short_mapping_has_30_seconds(lab: Lab, sockets: _Sockets) -> None:
    scene = _Scene(lab, sockets, "short")
    scene.router.sysctl({"netfilter.nf_conntrack_udp_timeout": 1, "netfilter.nf_conntrack_udp_timeout_stream": 1})
    outer = scene.sockets.source(scene.inside, scene.x1, scene.x)
    deadline = time.monotonic() + 10.0
    while _passes(scene.x1, outer, scene.inside):  # as in a game of statues: it lives for a second after each packet
        assert time.monotonic() < deadline
        time.sleep(1.2)
    settings = KINDS["short"].settings
    assert set(settings.values()) == {30}
    for name in settings:
        path = f"/proc/sys/net/{name.replace('.', '/')}"
        assert scene.router.run("cat", path).stdout == "1\n"  # the kernel has this setting for each namespace


@pytest.mark.parametrize("kind", ["easy", "full-cone", "hard"])
def test_a_reboot_forgets_mappings_and_leaves_the_rules(lab: Lab, sockets: _Sockets, kind: str) -> None:
    scene = _Scene(lab, sockets, kind)
    before = scene.sockets.source(scene.inside, scene.x1, scene.x)
    assert _passes(scene.x1, before, scene.inside)
    scene.router.forget()
    assert not _passes(scene.x1, before, scene.inside)
    after = scene.sockets.source(scene.inside, scene.x1, scene.x)
    assert (after == before) == (kind != "hard")
    assert _passes(scene.x1, after, scene.inside)
    assert _passes(scene.y1, after, scene.inside) == (kind == "full-cone")


def test_ipv6_passes_a_nat_untranslated_but_only_when_asked_for(lab: Lab, sockets: _Sockets) -> None:
    places = Places(lab)
    a, x = places.host("a", "v6-firewall"), places.public("x")
    inside, on_x = sockets.open(a, family=socket.AF_INET6), sockets.open(x, 7000, socket.AF_INET6)
    assert not _passes(on_x, (str(a.ipv6), _PORT), inside)
    inside.sendto(b"x", (str(x.ipv6), 7000))
    assert on_x.recvfrom(1)[1][:2] == (str(a.ipv6), _PORT)
    assert _passes(on_x, (str(a.ipv6), _PORT), inside)


def test_names_that_nobody_knows_are_refused(lab: Lab) -> None:
    places = Places(lab)
    with pytest.raises(LabError, match="no kind of place is named 'soft'; there are public, easy"):
        places.place("soft")
    with pytest.raises(LabError, match="no kind of router is named 'soft'; there are plain, easy"):
        places.carrier("soft")
    with pytest.raises(LabError, match="a public place has no router"):
        _ = places.place("public").router

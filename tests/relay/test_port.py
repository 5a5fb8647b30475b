"""Both ways to move UDP, by the same tests."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.relay.test_sockets import opened
from tests.samples import public_key
from wireguard_mesh.core.forwarding import Buffer, spans
from wireguard_mesh.core.sources import Source, UdpSource, WebSource
from wireguard_mesh.core.turnstile import Turnstile, TurnstileLimits
from wireguard_mesh.protocol.wireguard import Initiation, Transport
from wireguard_mesh.relay.linux import LinuxPort
from wireguard_mesh.relay.plain import PlainPort
from wireguard_mesh.relay.port import SPARE_SOURCES, Complaints, FindRoute, Port, has_fast_path
from wireguard_mesh.relay.sockets import close

SOL_UDP, UDP_SEGMENT = 17, 103
ONE_STRANGER = TurnstileLimits(calm_burst=1, without_cookie=10, with_cookie=10)  # then one of each kind a window
INITIATION = Initiation(1, bytes(32), bytes(48), bytes(28), bytes(16)).build()
WITH_COOKIE = INITIATION[:-16] + b"0123456789abcdef"


@dataclass
class Relay:
    """A port between two sockets: what comes from one goes to the other, as `way` says."""

    port: Port
    one: socket.socket
    two: socket.socket
    peers: set[Source]
    turnstile: Turnstile
    came: list[tuple[Source, bytes]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    way: dict[Source, UdpSource] = field(default_factory=dict)
    routed: int = 0

    def handle(self, source: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
        packets = [bytes(buffer[first:last]) for first, last in spans(start, end, size)]
        self.came += [(source, packet) for packet in packets]
        self.sizes.append(size)
        if source in self.way:
            self.port.send(self.way[source], buffer, start, end, size)

    def route(self, source: Source, _head: int, packets: int, _size: int) -> UdpSource | None:
        self.routed += packets
        return self.way.get(source)

    def receive(self, route: FindRoute | None = None) -> None:
        while self.port.receive(self.handle, route or (lambda *_: None)):
            pass

    @property
    def source_one(self) -> UdpSource:
        return self.seen(self.one)

    @property
    def source_two(self) -> UdpSource:
        return self.seen(self.two)

    def seen(self, sock: socket.socket) -> UdpSource:
        """As the dual-stack socket sees it."""
        host, port = sock.getsockname()[:2]
        return (f"::ffff:{host}" if "." in host else host, port, 0, 0)


@pytest.fixture(params=["plain", "linux"])
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    """Each kind of port, on a socket for both families."""
    if request.param == "linux" and not has_fast_path():
        pytest.skip("this machine has no fast path")
    sockets = opened("")
    peers: set[Source] = set()
    turnstile = Turnstile(ONE_STRANGER)
    kind = LinuxPort if request.param == "linux" else PlainPort
    number = sockets[0][0].getsockname()[1]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as two,
    ):
        one.bind(("127.0.0.1", 0))
        two.bind(("::1", 0))
        one.connect(("127.0.0.1", number))
        two.connect(("::1", number))
        for sock in (one, two):
            sock.settimeout(5)
        yield Relay(kind(sockets[0][0], peers.__contains__, turnstile), one, two, peers, turnstile)
    close(sockets)


def transport(index: int, size: int) -> bytes:
    return Transport(index, 0, bytes(size - 16)).build()


def test_what_comes_is_given_with_its_source(relay: Relay) -> None:
    relay.peers |= {relay.source_one, relay.source_two}
    relay.one.send(b"a" * 40)
    relay.two.send(b"b")
    relay.one.send(b"")
    relay.receive()
    assert [came for came in relay.came if came[1]] == [
        (relay.source_one, b"a" * 40), (relay.source_two, b"b"),
    ]  # fmt: skip


def test_what_is_forwarded_arrives_as_it_was(relay: Relay) -> None:
    relay.peers |= {relay.source_one, relay.source_two}
    relay.way[relay.source_one] = relay.source_two
    relay.way[relay.source_two] = relay.source_one
    for number in range(200):
        relay.one.send(bytes([number]) * (1 + number))
        if number % 50 == 49:
            relay.receive()
    assert [relay.two.recv(2000) for _ in range(200)] == [bytes([number]) * (1 + number) for number in range(200)]
    relay.two.send(b"and back")
    relay.receive()
    assert relay.one.recv(2000) == b"and back"
    assert relay.port.dropped == 0


def test_routed_packets_of_any_size_arrive_in_order(relay: Relay) -> None:
    relay.peers |= {relay.source_one, relay.source_two}
    relay.way[relay.source_one] = relay.source_two
    relay.one.send(transport(1, 32))
    relay.receive(relay.route)
    assert relay.two.recv(2000) == transport(1, 32)
    sizes = [100, 100, 100, 60, 100, 100, 1400, 1400, 1400, 33, 1400, 65000, 65000, 100]
    for number, size in enumerate(sizes):
        relay.one.send(transport(number % 2, size))
    relay.receive(relay.route)
    got = [relay.two.recv(70000) for _ in sizes]
    by_flow = [[packet for packet in got if packet[4] == flow] for flow in (0, 1)]
    sent = [transport(number % 2, size) for number, size in enumerate(sizes)]
    assert by_flow == [sent[0::2], sent[1::2]]


def test_what_has_no_route_is_given_one_by_one(relay: Relay) -> None:
    relay.peers.add(relay.source_one)
    relay.one.send(transport(1, 100))
    relay.receive(relay.route)
    for _ in range(3):
        relay.one.send(transport(1, 100))
    relay.receive(relay.route)
    assert relay.came == [(relay.source_one, transport(1, 100))] * 4


@pytest.mark.parametrize("count", [2, 20, 40])
def test_a_piece_of_a_fast_sender_leaves_whole(relay: Relay, count: int) -> None:
    relay.way[relay.source_one] = relay.source_two
    piece = b"".join(bytes([number]) * 1000 for number in range(count)) + b"tail"
    relay.one.sendmsg([piece], [(SOL_UDP, UDP_SEGMENT, (1000).to_bytes(2, "little"))])
    relay.receive()
    assert b"".join(relay.two.recv(70000) for _ in range(count + 1)) == piece


def test_what_cannot_go_is_counted_and_the_rest_goes_on(relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    relay.peers |= {relay.source_one, relay.source_two}
    nowhere: UdpSource = ("::ffff:255.255.255.255", 9, 0, 0)
    relay.way[relay.source_one] = nowhere
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            relay.one.send(b"x" * 50)
        relay.receive()
    assert relay.port.dropped == 3
    assert len(caplog.records) == 1
    relay.way[relay.source_one] = relay.source_two
    relay.one.send(b"goes on")
    relay.receive()
    assert relay.two.recv(100) == b"goes on"


def test_nobody_there_is_no_fault(relay: Relay) -> None:
    relay.peers |= {relay.source_one, relay.source_two}
    relay.way[relay.source_one] = relay.source_two
    relay.two.close()
    for _ in range(3):
        relay.one.send(b"x")
        relay.receive()
    assert len(relay.came) == 3


def test_what_is_sent_outside_goes_at_once(relay: Relay) -> None:
    relay.port.send(relay.source_two, b"0123456789", 2, 9, 3)
    assert [relay.two.recv(100) for _ in range(3)] == [b"234", b"567", b"8"]


def test_a_websocket_is_none_of_its_business(relay: Relay) -> None:
    relay.port.send(WebSource(1, public_key(1)), b"x", 0, 1, 1)
    assert relay.port.dropped == 0


def test_peers_are_remembered_and_strangers_are_not(relay: Relay) -> None:
    relay.two.send(b"x")
    relay.peers.add(relay.source_one)
    relay.one.send(b"x")
    relay.receive()
    assert relay.port.knows(relay.source_one)
    assert not relay.port.knows(relay.source_two)


def test_those_that_moved_are_forgotten(relay: Relay) -> None:
    number = relay.one.getpeername()[1]
    moved: list[Source] = []
    for first in range(0, SPARE_SOURCES + 1, 100):
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(100)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
            relay.peers.add(relay.seen(sock))
            moved.append(relay.seen(sock))
            sock.sendto(b"x", ("127.0.0.1", number))
        relay.receive()
        for sock in socks:
            sock.close()
        if first == 0:
            relay.peers.clear()
    assert not any(relay.port.knows(source) for source in moved[:100] if source not in moved[100:])
    assert relay.port.knows(moved[-1])


def test_a_fault_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints("it cannot be done")
    for _ in range(3):
        complaints.note(OSError(errno.ENOBUFS, "no buffers"))
    complaints.note(OSError(errno.EPERM, "not permitted"))
    assert [record.message for record in caplog.records] == [
        "it cannot be done, which is not said again: no buffers",
        "it cannot be done, which is not said again: not permitted",
    ]


def test_a_flood_of_initiations_is_shed_but_for_a_few(relay: Relay) -> None:
    for _ in range(5):
        relay.one.send(INITIATION)
        relay.one.send(WITH_COOKIE)
    relay.receive()
    assert [datagram for _, datagram in relay.came] == [INITIATION, WITH_COOKIE, INITIATION]
    assert relay.turnstile.shed == 7
    relay.two.send(INITIATION)
    relay.receive()
    assert len(relay.came) == 3, "this window is full"
    relay.turnstile.turn(0.5)
    relay.two.send(INITIATION)
    relay.receive()
    assert len(relay.came) == 4


def test_initiations_of_peers_do_not_wait_for_those_of_strangers(relay: Relay) -> None:
    relay.peers.add(relay.source_two)
    relay.two.send(INITIATION)
    relay.receive()
    for _ in range(5):
        relay.one.send(INITIATION)
    relay.two.send(INITIATION)
    relay.two.send(INITIATION)
    relay.receive()
    assert len([source for source, _ in relay.came if source == relay.source_two]) == 3


def test_of_initiations_in_one_piece_one_enters_in_a_flood(relay: Relay) -> None:
    with_segments = (SOL_UDP, UDP_SEGMENT, len(INITIATION).to_bytes(2, "little"))
    for _ in range(2):
        relay.one.sendmsg([INITIATION * 8], [with_segments])
        relay.receive()
    assert len(relay.came) <= 9

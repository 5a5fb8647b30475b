"""What only the fast path of Linux does; all else is in test_port.py."""

from __future__ import annotations

import socket

import pytest

from tests.relay.ports import nowhere, read_a_broken_socket, sizes_in_turns
from tests.relay.test_sockets import opened
from wireguard_mesh.core.forwarding import Buffer
from wireguard_mesh.core.sources import Source
from wireguard_mesh.core.turnstile import Turnstile
from wireguard_mesh.protocol.pings import Ping, PingKeys
from wireguard_mesh.protocol.wireguard import Transport
from wireguard_mesh.relay.linux import LinuxPort
from wireguard_mesh.relay.linux_layout import BATCH
from wireguard_mesh.relay.port import has_fast_path
from wireguard_mesh.relay.sockets import close

pytestmark = pytest.mark.skipif(not has_fast_path(), reason="this machine has no fast path")
KEEPALIVE = Transport(1, 0, bytes(16)).build()


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
def test_an_answer_leaves_from_the_address_that_was_asked(host: str) -> None:
    sockets = opened(host)
    peers: set[Source] = set()
    port = LinuxPort(sockets[0][0], peers.__contains__, Turnstile())
    asked = ("127.0.0.77", sockets[0][0].getsockname()[1])
    came: list[Source] = []

    def answer(source: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
        came.append(source)
        assert not isinstance(source, str)
        port.send(source, buffer, start, end, size)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        sock.sendto(KEEPALIVE, asked)
        port.receive(answer, nowhere)
        assert sock.recvfrom(100) == (KEEPALIVE, asked), "a stranger's"
        peers.add(came[0])
        sock.sendto(KEEPALIVE, asked)
        port.receive(answer, nowhere)
        assert sock.recvfrom(100) == (KEEPALIVE, asked)
        port.send(came[0], b"later", 0, 5, 5)
        assert sock.recvfrom(100) == (b"later", asked), "also when nothing has just come"
        other = ("127.0.0.88", asked[1])
        sock.sendto(KEEPALIVE, other)
        port.receive(answer, nowhere)
        assert sock.recvfrom(100) == (KEEPALIVE, other), "it asks at another one now"
    close(sockets)


def test_what_strangers_say_in_vain_is_not_looked_at() -> None:
    sockets = opened("127.0.0.1")
    peers: set[Source] = set()
    turnstile = Turnstile()
    port = LinuxPort(sockets[0][0], peers.__contains__, turnstile)
    came: list[bytes] = []

    def take(_source: Source, buffer: Buffer, start: int, end: int, _size: int) -> None:
        came.append(bytes(buffer[start:end]))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        data = Transport(1, 0, bytes(17)).build()
        ping = Ping(bytes(32), 1).build(PingKeys(bytes(32)))
        for datagram in (data, b"\5\0\0\0", b"", b"hello", b"\1\0\0\0" + bytes(60), KEEPALIVE, ping):
            sock.sendto(datagram, sockets[0][0].getsockname())
        port.receive(take, nowhere)
        assert came == [KEEPALIVE, ping]
        assert turnstile.ignored == 5
        peers.add(sock.getsockname())
        sock.sendto(data, sockets[0][0].getsockname())
        port.receive(take, nowhere)
        assert came == [KEEPALIVE, ping, data]
    close(sockets)


def test_there_is_more_when_a_batch_was_full() -> None:
    first, then = sizes_in_turns(LinuxPort, BATCH + 2)
    assert first == list(range(1, BATCH + 1))
    assert then == [BATCH + 1, BATCH + 2]


def test_a_socket_that_is_broken_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    assert read_a_broken_socket(LinuxPort) == [False, False]
    assert len(caplog.records) == 1

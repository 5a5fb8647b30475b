"""Many datagrams a system call."""

import os
import socket
from collections.abc import Iterator

import pytest

from bench.datagrams import MAX_SUPER, UDP_GRO, Burst, Counter


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        far.bind(("127.0.0.1", 0))
        far.settimeout(2)
        near.connect(far.getsockname())
        yield near, far


@pytest.mark.parametrize("gso", [True, False])
@pytest.mark.parametrize(("size", "segments"), [(1400, 46), (1400, 47), (200, 64), (200, 3)])
def test_a_burst_is_so_many_datagrams(
    ends: tuple[socket.socket, socket.socket], size: int, segments: int, gso: bool
) -> None:
    near, far = ends
    datagram = os.urandom(size)
    Burst(near, datagram, segments, gso=gso).send()
    assert [far.recv(MAX_SUPER) for _ in range(segments)] == [datagram] * segments
    far.setblocking(False)
    with pytest.raises(BlockingIOError):
        far.recv(MAX_SUPER)


@pytest.mark.parametrize("gso", [True, False])
def test_a_counter_counts_all_bytes(ends: tuple[socket.socket, socket.socket], gso: bool) -> None:
    near, far = ends
    far.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    burst = Burst(near, os.urandom(1400), 46, gso=gso)
    burst.send()
    burst.send()
    counter, received = Counter(), 0
    while arrived := counter.take(far.fileno()):
        received += arrived
    assert received == 2 * 46 * 1400


def test_what_nobody_takes_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    near, _far = ends
    burst = Burst(near, bytes(1400), 46, gso=False)
    for _ in range(200):
        burst.send()


def test_a_socket_that_is_gone_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    near, _far = ends
    burst = Burst(near, bytes(100), 1, gso=False)
    near.close()
    with pytest.raises(OSError, match="descriptor"):
        burst.send()

"""What both ways to move UDP do, each with its own batch."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from tests.relay.test_sockets import opened
from wireguard_mesh.core.forwarding import Buffer
from wireguard_mesh.core.sources import Source, UdpSource
from wireguard_mesh.core.turnstile import Turnstile
from wireguard_mesh.relay.port import Port
from wireguard_mesh.relay.sockets import close

MakePort = Callable[[socket.socket, Callable[[Source], bool], Turnstile], Port]


def nowhere(_source: Source, _head: int, _packets: int, _size: int) -> UdpSource | None:
    """No route."""


def _note(sizes: list[int], _source: Source, _buffer: Buffer, start: int, end: int, _size: int) -> None:
    sizes.append(end - start)


def sizes_in_turns(make: MakePort, count: int) -> tuple[list[int], list[int]]:
    """Send datagrams of 1 to `count` bytes, and read twice: what came at first and then, by size."""
    sockets = opened("127.0.0.1")
    port = make(sockets[0][0], lambda _: True, Turnstile())
    turns: tuple[list[int], list[int]] = ([], [])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for size in range(1, count + 1):
            sock.sendto(bytes(size), sockets[0][0].getsockname())
        for sizes, has_more in zip(turns, (True, False), strict=True):
            assert port.receive(partial(_note, sizes), nowhere) is has_more
    close(sockets)
    return turns


def read_a_broken_socket(make: MakePort) -> list[bool]:
    """Twice; whether there may be more, each time."""
    sockets = opened("127.0.0.1")
    port = make(sockets[0][0], lambda _: False, Turnstile())
    close(sockets)
    return [port.receive(lambda *_: None, nowhere) for _ in range(2)]

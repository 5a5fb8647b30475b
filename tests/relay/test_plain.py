"""What only the plain way does; all else is in test_port.py."""

from __future__ import annotations

import socket

import pytest

from tests.relay.test_sockets import opened
from wireguard_mesh.core.sources import Source, UdpSource
from wireguard_mesh.core.turnstile import Turnstile
from wireguard_mesh.relay.plain import BATCH, PlainPort
from wireguard_mesh.relay.sockets import close


def nowhere(_source: Source, _head: int, _packets: int, _size: int) -> UdpSource | None:
    """No route."""


def test_others_get_their_turn_after_a_batch() -> None:
    sockets = opened("127.0.0.1")
    port = PlainPort(sockets[0][0], lambda _: False, Turnstile())
    sizes: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for size in range(1, BATCH + 3):
            sock.sendto(bytes(size), sockets[0][0].getsockname())
        assert port.receive(lambda _s, _b, start, end, _e: sizes.append(end - start), nowhere)
        assert len(sizes) == BATCH
        assert not port.receive(lambda _s, _b, start, end, _e: sizes.append(end - start), nowhere)
    assert sizes == list(range(1, BATCH + 3))
    close(sockets)


def test_a_socket_that_is_broken_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    sockets = opened("127.0.0.1")
    port = PlainPort(sockets[0][0], lambda _: False, Turnstile())
    close(sockets)
    port.receive(lambda *_: None, nowhere)
    assert len(caplog.records) == 1

"""The UDP sockets of vantage points."""

from __future__ import annotations

import socket

import pytest

from wireguard_mesh.model.errors import Conflict, InvalidValue
from wireguard_mesh.relay.sockets import BUFFER_BYTES, Sockets, bind_vantages, close


def free_port() -> int:
    """A UDP port that is free now, and the next one too, most likely."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 0))
        return min(int(sock.getsockname()[1]), 65000)


def opened(host: str) -> Sockets:
    for _ in range(20):
        try:
            return bind_vantages(host, free_port())
        except Conflict:
            continue
    raise AssertionError("no two ports in a row are free")


def test_everywhere_is_both_families() -> None:
    sockets = opened("")
    assert [len(vantage) for vantage in sockets] == [1, 1]
    first, second = (vantage[0] for vantage in sockets)
    assert second.getsockname()[1] == first.getsockname()[1] + 1
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", (address, first.getsockname()[1]))
            first.settimeout(5)
            assert first.recv(100) == b"hello"
    close(sockets)


def test_one_address_alone() -> None:
    sockets = opened("127.0.0.1")
    assert [sock.getsockname()[0] for (sock,) in sockets] == ["127.0.0.1", "127.0.0.1"]
    close(sockets)


def test_buffers_are_larger_than_usual() -> None:
    sockets = opened("::1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        usual = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert usual <= sockets[0][0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * BUFFER_BYTES
    close(sockets)


def test_a_port_in_use_is_said_and_nothing_stays_open() -> None:
    sockets = opened("127.0.0.1")
    first, second = (vantage[0] for vantage in sockets)
    port = second.getsockname()[1]
    first.close()
    with pytest.raises(Conflict, match=str(port)):
        bind_vantages("127.0.0.1", port - 1)
    close(sockets)
    close(bind_vantages("127.0.0.1", port - 1))


@pytest.mark.parametrize(("host", "port"), [("192.0.2.77", 5000), ("no such host", 5000), ("", 0), ("", 65535)])
def test_what_cannot_be_bound_is_said(host: str, port: int) -> None:
    with pytest.raises(InvalidValue):
        bind_vantages(host, port)

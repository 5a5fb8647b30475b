"""Pings on loopback, where the system answers; and what is said where nothing can."""

import asyncio
import errno
import socket
from ipaddress import ip_address
from typing import Any

import pytest

from wireguard_mesh.client import icmp
from wireguard_mesh.model.errors import NotPermitted, Unavailable


@pytest.fixture(params=["unprivileged", "raw"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of sockets, where this machine lets us have them."""
    wanted = socket.SOCK_DGRAM if request.param == "unprivileged" else socket.SOCK_RAW
    try:
        socket.socket(socket.AF_INET, wanted, socket.IPPROTO_ICMP).close()
    except PermissionError:
        pytest.skip("this machine does not let us have such a socket")

    def only_wanted(family: int, kind: int, protocol: int) -> socket.socket:
        if kind != wanted:
            raise PermissionError(errno.EPERM, "not here")
        return socket.socket(family, kind, protocol)

    monkeypatch.setattr(icmp, "make_socket", only_wanted)
    return str(request.param)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_round_trip(kind: str, address: str) -> None:
    took = await icmp.ping(ip_address(address), 7, 10.0)
    assert took is not None
    assert took > 0


async def test_several_at_once_do_not_take_each_others_answers(kind: str) -> None:
    answers = await asyncio.gather(*(icmp.ping(ip_address("127.0.0.1"), 1, 10.0) for _ in range(20)))
    assert all(answers)


async def test_without_an_answer_it_is_over_in_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icmp, "is_reply", lambda *_: False)
    assert await icmp.ping(ip_address("127.0.0.1"), 1, 0.05) is None


async def test_no_way_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere(socket.socket):
        def connect(self, *_: Any) -> None:
            raise OSError(errno.ENOKEY, "Required key not available")

    monkeypatch.setattr(icmp, "_open", lambda _address: Nowhere(socket.AF_INET, socket.SOCK_DGRAM))
    with pytest.raises(Unavailable, match="WireGuard has no peer with that address"):
        await icmp.ping(ip_address("192.0.2.1"), 1, 1.0)


async def test_without_the_right_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> socket.socket:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(icmp, "make_socket", refuse)
    with pytest.raises(NotPermitted, match="ping_group_range"):
        await icmp.ping(ip_address("127.0.0.1"), 1, 1.0)

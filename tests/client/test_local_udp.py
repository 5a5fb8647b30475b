"""Datagrams in runs over loopback."""

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.client import local_udp
from wireguard_mesh.client.local_udp import MAX_SEGMENTS, LocalUdp
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.protocol.carrying import MAX_DATAGRAM


@pytest.fixture
def wireguard() -> Iterator[socket.socket]:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(5.0)
    yield made
    made.close()


@pytest.fixture
def local(wireguard: socket.socket) -> Iterator[LocalUdp]:
    made = LocalUdp(wireguard.getsockname()[1])
    yield made
    made.close()


MIXED = [b"a" * 100, b"b" * 100, b"c" * 60, b"", b"d" * 1400, b"e" * 1400, b"f" * 200, b"g"]


def test_what_is_sent_arrives_one_by_one(local: LocalUdp, wireguard: socket.socket) -> None:
    local.send(MIXED)
    assert [wireguard.recv(2000) for _ in MIXED] == MIXED


def test_without_segmentation_it_arrives_as_well(
    local: LocalUdp, wireguard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Old(socket.socket):
        def sendmsg(self, *_: object) -> int:
            raise OSError(errno.EINVAL, "no such thing")

    with Old(socket.AF_INET, socket.SOCK_DGRAM) as old:
        old.connect(wireguard.getsockname())
        monkeypatch.setattr(local, "_socket", old)
        local.send(MIXED)
        assert [wireguard.recv(2000) for _ in MIXED] == MIXED


def test_a_fault_that_passes_costs_its_packets_only(
    local: LocalUdp, wireguard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [errno.ENOBUFS]

    class Full(socket.socket):
        def sendmsg(self, *message: Any) -> int:
            if faults:
                raise OSError(faults.pop(), "full")
            return super().sendmsg(*message)

    with Full(socket.AF_INET, socket.SOCK_DGRAM) as full:
        full.connect(wireguard.getsockname())
        monkeypatch.setattr(local, "_socket", full)
        local.send([b"a", b"b"])
        local.send([b"c", b"d"])
        assert [wireguard.recv(10), wireguard.recv(10)] == [b"c", b"d"]


def test_a_batch_of_the_kernel_is_taken_apart(local: LocalUdp, wireguard: socket.socket) -> None:
    where = ("127.0.0.1", local.port)
    try:
        wireguard.sendmsg([b"x" * 250], [(17, 103, (100).to_bytes(2, "little"))], 0, where)
    except OSError:
        pytest.skip("this kernel cuts no datagrams")
    wireguard.sendto(b"one", where)
    wireguard.sendto(b"", where)
    assert local.receive(10_000) == [b"x" * 100, b"x" * 100, b"x" * 50, b"one", b""]
    assert local.receive(10_000) == []


def test_takes_no_more_than_is_asked_for(local: LocalUdp, wireguard: socket.socket) -> None:
    for _ in range(5):
        wireguard.sendto(bytes(100), ("127.0.0.1", local.port))
    assert len(local.receive(250)) == 3
    assert len(local.receive(250)) == 2


def test_a_socket_that_cannot_be_opened_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_udp, "LOOPBACK", "192.0.2.1")
    with pytest.raises(Unavailable, match=r"no UDP socket on 192\.0\.2\.1 can be opened"):
        LocalUdp(9)


@given(st.lists(st.integers(0, 1500).map(bytes) | st.just(bytes(1400)), max_size=150))
def test_runs_are_what_one_call_may_send(datagrams: list[bytes]) -> None:
    runs = list(local_udp._runs(datagrams))
    assert [datagram for run in runs for datagram in run] == datagrams
    for run in runs:
        sizes = [len(datagram) for datagram in run]
        assert len(run) <= MAX_SEGMENTS
        assert sum(sizes) <= MAX_DATAGRAM
        assert set(sizes[:-1]) <= {sizes[0]}
        assert len(run) == 1 or 0 < sizes[-1] <= sizes[0]


def test_packets_of_one_size_go_together() -> None:
    assert [len(run) for run in local_udp._runs([bytes(100)] * 130)] == [64, 64, 2]

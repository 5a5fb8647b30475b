"""A relay on real sockets, by both ways to move UDP."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.relay.test_sockets import opened
from tests.relay.wire_peers import VANTAGES, WirePeer, packet
from tests.waiting import until
from wireguard_mesh.core.relay_core import RelayCore
from wireguard_mesh.core.sources import endpoint_of
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.protocol import cookies
from wireguard_mesh.protocol.wireguard import Initiation
from wireguard_mesh.relay import node as node_module
from wireguard_mesh.relay.control import Limits, Roster, Setup
from wireguard_mesh.relay.node import OWN_DESCRIPTORS, Node, spare_descriptors
from wireguard_mesh.relay.sockets import Sockets, close


class Ground:
    """A node, peers, and another node on the same sockets when one was ended."""

    def __init__(self, folder: Path, *, use_fast_path: bool, host: str = "", limits: Limits | None = None) -> None:
        self.sockets: Sockets = opened(host)
        self.use_fast_path = use_fast_path
        self.folder = folder
        self.limits = limits or Limits()
        self.port: int = self.sockets[0][0].getsockname()[1]
        self.peers: list[WirePeer] = []
        self.node = self.begin()
        self.restored = 0

    def begin(self) -> Node:
        descriptors = tuple(tuple(sock.dup().detach() for sock in vantage) for vantage in self.sockets)
        setup = Setup(
            relay=OWN_RELAY,
            vantages=VANTAGES,
            folder=str(self.folder),
            sockets=descriptors,
            limits=self.limits,
        )
        self.node = Node(setup, use_fast_path=self.use_fast_path)
        self.node.roster(Roster(tuple(peer.key for peer in self.peers), whole=True))
        self.restored = self.node.begin()
        return self.node

    def restart(self) -> None:
        self.node.end()
        self.begin()

    async def peer(self, number: int, family: int = socket.AF_INET, vantage: int = 0) -> WirePeer:
        """A registered peer that has met the relay."""
        peer = WirePeer(number, self.port + vantage, family)
        self.peers.append(peer)
        self.node.roster(Roster((peer.key,)))
        before = len(self.seen())
        await peer.meet(vantage)
        await until(lambda: len(self.seen()) > before)
        return peer

    _seen: list[object]

    def seen(self) -> list[object]:
        self._seen = [*getattr(self, "_seen", []), *self.node.observations()]
        return self._seen

    def close(self) -> None:
        self.node.end()
        close(self.sockets)
        for peer in self.peers:
            peer.close()


Make = Callable[..., Ground]


@pytest_asyncio.fixture(params=["plain", "linux"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    grounds: list[Ground] = []

    def make(**options: object) -> Ground:
        grounds.append(Ground(tmp_path, use_fast_path=request.param == "linux", **options))  # type: ignore[arg-type]  # as they come
        return grounds[-1]

    yield make
    for ground in grounds:
        ground.close()


async def test_a_pair_talks_through_it(make: Make) -> None:
    ground = make()
    one, two = await ground.peer(1), await ground.peer(2, socket.AF_INET6)
    to_two, to_one = await one.call(two)
    for number in range(100):
        one.send(packet(to_two, number))
    assert [await two.receive() for _ in range(100)] == [packet(to_two, number) for number in range(100)]
    two.send(packet(to_one, 7, 32))
    assert await one.receive() == packet(to_one, 7, 32)
    stats = ground.node.stats()
    assert (stats.registered, stats.sessions, stats.routes, stats.carriers) == (2, 2, 2, 0)
    assert stats.forwarded_packets >= 100
    assert stats.answered == 2
    assert stats.received_packets >= stats.forwarded_packets
    assert stats.received_bytes >= stats.forwarded_bytes >= 20_000
    assert (stats.pairs[0].source, stats.pairs[0].destination) == (one.key, two.key)
    assert stats.memory > 1_000_000


async def test_a_flood_of_handshakes_is_shed_and_peers_go_on(make: Make) -> None:
    ground = make()
    one, two = await ground.peer(1), await ground.peer(2)
    initiation = Initiation(1, bytes(32), bytes(48), bytes(28), bytes(16)).build()
    flood = cookies.with_macs(cookies.mac1_key(VANTAGES[0].public_key), initiation)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for number in range(4000):
            stranger.sendto(flood, ("127.0.0.1", ground.port))
            if number % 100 == 99:
                await asyncio.sleep(0)
        await until(lambda: ground.node.stats().dropped["too many handshakes of strangers"] > 0)
        to_two, _ = await one.call(two)
        one.send(packet(to_two, 1))
        assert await two.receive() == packet(to_two, 1)
        await one.meet(0)
    assert ground.node.stats().sessions == 2


async def test_both_vantage_points_observe(make: Make) -> None:
    ground = make()
    peer = await ground.peer(1)
    again = await ground.peer(1, vantage=1)
    seen = ground.seen()
    assert [(each.public_key, each.vantage) for each in seen] == [(peer.key, 0), (peer.key, 1)]  # type: ignore[attr-defined]
    for each, sock in zip(seen, (peer.socket, again.socket), strict=True):
        host, port = sock.getsockname()
        assert str(endpoint_of(each.source)) == f"{host}:{port}"  # type: ignore[attr-defined]


async def test_a_new_node_goes_on_where_the_last_one_was(make: Make) -> None:
    ground = make()
    one, two = await ground.peer(1), await ground.peer(2)
    to_two, to_one = await one.call(two)
    ground.node.end()
    one.send(packet(to_two, 1))
    ground.begin()
    assert ground.restored == 2
    assert await two.receive() == packet(to_two, 1), "it waited in the socket"
    ground.restart()
    two.send(packet(to_one, 2))
    assert await one.receive() == packet(to_one, 2), "also after the second time"


async def test_a_journal_that_grows_too_long_is_begun_anew(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "TICK_SECONDS", 0.01)
    ground = make()
    ground.node._journal._max_bytes = 10  # type: ignore[union-attr]
    one, two = await ground.peer(1), await ground.peer(2)
    to_two, _ = await one.call(two)
    file = ground.folder / "relay-server.journal"
    inode = file.stat().st_ino
    await until(lambda: file.stat().st_ino != inode)
    ground.restart()
    one.send(packet(to_two, 1))
    assert await two.receive() == packet(to_two, 1)


async def test_sockets_of_one_address_each(make: Make) -> None:
    ground = make(host="localhost")
    one, two = await ground.peer(1), await ground.peer(2)
    to_two, _ = await one.call(two)
    for number in range(10):
        one.send(packet(to_two, number))
    assert [await two.receive() for _ in range(10)] == [packet(to_two, number) for number in range(10)]


async def test_a_limit_holds_for_each_peer(make: Make) -> None:
    ground = make(limits=Limits(bytes_per_second=1, burst_bytes=1000))
    one, two = await ground.peer(1), await ground.peer(2)
    to_two, _ = await one.call(two)
    for number in range(10):
        one.send(packet(to_two, number))
    assert [await two.receive() for _ in range(5)] == [packet(to_two, number) for number in range(5)]
    await until(lambda: ground.node.stats().dropped.get("too fast") == 5)


async def test_a_fault_of_ours_ends_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ground = make()
    one, two = await ground.peer(1), await ground.peer(2)
    to_two, _ = await one.call(two)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(RelayCore, "receive", _broken)
        for _ in range(3):
            one.send(b"\1" * 40)
        await asyncio.sleep(0.05)
    assert len([record for record in caplog.records if record.exc_info]) == 1
    one.send(packet(to_two, 1))
    assert await two.receive() == packet(to_two, 1)


def _broken(*_arguments: object) -> None:
    raise AssertionError("broken on purpose")


@pytest.mark.parametrize(
    ("limit", "room"), [(10, 0), (1024, 1024 - OWN_DESCRIPTORS), (resource.RLIM_INFINITY, sys.maxsize)]
)
def test_there_are_no_more_websockets_than_files_may_be_open(
    monkeypatch: pytest.MonkeyPatch, limit: int, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (limit, limit))
    assert spare_descriptors() == room

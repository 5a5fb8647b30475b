"""The relay's process, kept running."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.frames import Frame
from websockets.protocol import Protocol, Side, State

from tests.relay.test_sockets import opened
from tests.relay.wire_peers import VANTAGES, WirePeer, packet
from tests.samples import public_key
from tests.waiting import until
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.protocol import carrying
from wireguard_mesh.relay import supervisor as module
from wireguard_mesh.relay.control import Observed, Setup, Stats
from wireguard_mesh.relay.process import REPEAT_SECONDS, REPORT_SECONDS
from wireguard_mesh.relay.sockets import close
from wireguard_mesh.relay.supervisor import RelaySupervisor


class Ground:
    """A supervised relay, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.sockets = opened("")
        self.port: int = self.sockets[0][0].getsockname()[1]
        self.observed: list[Observed] = []
        self.stats: list[Stats] = []
        self.peers: list[WirePeer] = []
        setup = Setup(relay=OWN_RELAY, vantages=VANTAGES, folder=str(folder))
        self.supervisor = RelaySupervisor(self.sockets, setup, self.observed.append, self.stats.append)
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.running = asyncio.create_task(self.supervisor.run())
        await until(lambda: self.supervisor.is_ready)

    async def peer(self, number: int) -> WirePeer:
        peer = WirePeer(number, self.port)
        self.peers.append(peer)
        self.supervisor.roster([peer.key])
        # The roster and the datagram go different ways: the first initiation may be there before.
        for _ in range(50):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await peer.meet()
                break
        await until(lambda: any(seen.key == peer.key for seen in self.observed))
        return peer

    async def close(self) -> None:
        self.supervisor.stop()
        if self.running is not None:
            await self.running
        close(self.sockets)
        for peer in self.peers:
            peer.close()


def runs(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment(pid: int) -> bytes:
    """What a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest_asyncio.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    ground = Ground(tmp_path)
    yield ground
    await ground.close()


async def test_it_relays_and_says_what_it_sees(ground: Ground) -> None:
    await ground.start()
    one, two = await ground.peer(1), await ground.peer(2)
    host, port = one.socket.getsockname()
    assert [(seen.vantage, str(seen.endpoint), seen.over_web) for seen in ground.observed if seen.key == one.key] == [
        (0, f"{host}:{port}", False)
    ]
    to_two, to_one = await one.call(two)
    one.send(packet(to_two, 1))
    assert await two.receive() == packet(to_two, 1)
    two.send(packet(to_one, 1))
    assert await one.receive() == packet(to_one, 1)
    await until(lambda: ground.stats and ground.stats[-1].forwarded_packets >= 2)
    assert ground.stats[-1].registered == 2


async def test_who_moves_with_each_packet_is_told_of_now_and_then(ground: Ground) -> None:
    await ground.start()
    peer = await ground.peer(1)
    elsewhere = WirePeer(2, ground.port)
    ground.peers.append(elsewhere)
    sockets = [elsewhere.socket, peer.socket]
    began = asyncio.get_running_loop().time()
    for step in range(41):
        peer.socket = sockets[step % 2]
        peer.say()
        await asyncio.sleep(2 * REPORT_SECONDS)
    last = f":{elsewhere.socket.getsockname()[1]}"
    await until(lambda: str(ground.observed[-1].endpoint).endswith(last))
    seconds = asyncio.get_running_loop().time() - began
    assert len(ground.observed) <= 2 + 2 * seconds / REPEAT_SECONDS, "not with each of its 41 packets"
    peer.socket = sockets[1]


async def test_who_leaves_is_relayed_no_more(ground: Ground) -> None:
    await ground.start()
    one, two = await ground.peer(1), await ground.peer(2)
    to_two, _ = await one.call(two)
    ground.supervisor.roster(remove=[two.key])
    await until(lambda: ground.stats[-1].registered == 1)
    one.send(packet(to_two, 1))
    ground.supervisor.roster([two.key, one.key], whole=True)
    await until(lambda: ground.stats[-1].registered == 2)
    with pytest.raises(BlockingIOError):
        two.socket.recv(100)


async def test_killed_it_is_back_and_pairs_go_on(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    await ground.start()
    one, two = await ground.peer(1), await ground.peer(2)
    to_two, to_one = await one.call(two)
    first = ground.supervisor.pid
    assert first is not None
    with caplog.at_level(logging.INFO):
        os.kill(first, signal.SIGKILL)
        await until(lambda: not runs(first))  # else it might take the packet with it
        one.send(packet(to_two, 1))
        assert await two.receive() == packet(to_two, 1)
        two.send(packet(to_one, 1))
        assert await one.receive() == packet(to_one, 1)
        await until(lambda: ground.supervisor.is_ready)
    assert ground.supervisor.pid != first
    said = [record.levelname for record in caplog.records if record.name == module.__name__]
    assert said == ["ERROR", "INFO"]
    assert "sessions=2" in caplog.text


async def test_what_changes_while_it_is_away_is_not_lost(ground: Ground) -> None:
    ground.supervisor.roster([public_key(5), public_key(6)], whole=True)
    ground.supervisor.roster(remove=[public_key(5)])
    await ground.start()
    await until(lambda: ground.stats)
    assert ground.stats[0].registered == 1
    assert ground.supervisor.pid is not None
    os.kill(ground.supervisor.pid, signal.SIGKILL)
    ground.supervisor.roster([public_key(number) for number in range(1, 5)])
    await until(lambda: ground.stats[-1].registered == 5)


async def test_a_websocket_is_handed_over(ground: Ground) -> None:
    await ground.start()
    one, two = await ground.peer(1), WirePeer(2, ground.port)
    ground.peers.append(two)
    ground.supervisor.roster([two.key])
    ours, theirs = socket.socketpair()
    assert ground.supervisor.adopt(theirs, b"", two.key)
    reader, writer = await asyncio.open_connection(sock=ours)
    protocol = Protocol(Side.CLIENT, state=State.OPEN)

    async def send(datagram: bytes) -> None:
        protocol.send_binary(carrying.pack([datagram]))
        for data in protocol.data_to_send():
            writer.write(data)
        await writer.drain()

    async def receive() -> bytes:
        while True:
            protocol.receive_data(await asyncio.wait_for(reader.read(65536), 5))
            for event in protocol.events_received():
                assert isinstance(event, Frame)
                return carrying.unpack(bytes(event.data))[0]

    initiator = two.initiation(VANTAGES[0].public_key)
    await send(initiator.datagram)
    two.index, two.keys = initiator.finish(await receive())
    two.send = lambda datagram: asyncio.ensure_future(send(datagram))  # type: ignore[method-assign, assignment]
    two.receive = receive  # type: ignore[method-assign]
    two.say()
    await until(lambda: any(seen.key == two.key for seen in ground.observed))
    seen = next(seen for seen in ground.observed if seen.key == two.key)
    assert (seen.endpoint, seen.over_web) == (None, True)
    to_two, to_one = await one.call(two)
    one.send(packet(to_two, 1))
    assert await receive() == packet(to_two, 1)
    await send(packet(to_one, 2))
    assert await one.receive() == packet(to_one, 2)
    writer.close()


async def test_without_a_process_a_connection_is_refused(ground: Ground) -> None:
    ours, theirs = socket.socketpair()
    assert not ground.supervisor.adopt(theirs, b"", public_key(1))
    assert ours.recv(10) == b"", "and closed"
    ours.close()


async def test_a_program_that_ends_is_tried_again_and_said_once_and_when_it_goes_on(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MODULE", "wireguard_mesh.there.is.no.such")
    monkeypatch.setattr(module, "RESTART", Backoff(first=0.001, longest=0.001))
    pids: set[int | None] = set()

    def has_tried() -> bool:
        pids.add(ground.supervisor.pid)
        return len(pids - {None}) > module.KEEPS_ENDING + 2

    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(ground.supervisor.run())
        await until(has_tried)
        ground.supervisor.stop()
        await running
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "keeps ending" in caplog.text
    assert not ground.supervisor.is_ready


async def test_it_inherits_no_flags(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPN_SERVER_DATABASE_URL", "postgresql://mesh:secret@db.example/mesh")
    await ground.start()
    pid = ground.supervisor.pid
    assert pid is not None
    assert b"secret" not in environment(pid)


async def test_what_cannot_be_started_is_tried_again(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RESTART", Backoff(first=0.001, longest=0.001))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/there/is/no/python")
        running = asyncio.create_task(ground.supervisor.run())
        await until(lambda: "cannot be started" in caplog.text)
    await until(lambda: ground.supervisor.is_ready)
    ground.supervisor.stop()
    await running


async def test_one_that_hangs_is_ended(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    await ground.start()
    first = ground.supervisor.pid
    assert first is not None
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.2)
    os.kill(first, signal.SIGSTOP)
    await until(lambda: ground.supervisor.pid not in (first, None))
    monkeypatch.setattr(module, "SILENCE_SECONDS", 30.0)
    await until(lambda: ground.supervisor.is_ready)


async def test_it_ends_with_its_parent(ground: Ground) -> None:
    await ground.start()
    assert ground.running is not None
    pid = ground.supervisor.pid
    assert pid is not None
    ground.running.cancel()
    with suppress(asyncio.CancelledError):
        await ground.running
    ground.running = None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

"""Whatever happens to the map and to the streams, every reader ends with exactly the map; on transports in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import empty, public_key, register
from tests.core.test_pushing import COMMANDS, after, peers_of
from tests.server.test_pieces import inflate, unchunk
from wireguard_mesh.core import pushing
from wireguard_mesh.core.following import MapReceiver
from wireguard_mesh.core.netmap import apply
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.events import EventParser
from wireguard_mesh.server import pieces, streams
from wireguard_mesh.server.connections import GuardedProtocol
from wireguard_mesh.server.one_way import OneWayProtocol
from wireguard_mesh.server.shared import Shared
from wireguard_mesh.server.streams import Hub

READER = 0  # who never leaves


@dataclass(eq=False)
class Wire:
    """A transport, and what its other side makes of it. It tells its protocol to pause after `room` writes."""

    room: int
    protocol: Any = None
    written: list[bytes] = field(default_factory=list)
    is_cut: bool = False
    _since_pause: int = 0

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        if self.is_cut:  # by the other side, of which the hub is told later
            return
        self.written.append(data)
        self._since_pause += 1
        if self._since_pause > self.room and not self.protocol.is_paused:
            self.protocol.pause_writing()

    def drain(self) -> None:
        """The reader reads."""
        self._since_pause = 0
        if self.protocol.is_paused and not self.is_cut:
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    close = abort


@dataclass
class Connection:
    """What hands its transport over."""

    wire: Wire
    server_state: Shared = field(default_factory=lambda: Shared(0))

    def hand_over(self, heir: OneWayProtocol) -> bool:
        heir.take_over(cast("asyncio.Transport", self.wire), self.server_state, None, is_paused=False)
        return True


@dataclass
class Client:
    """A machine with its map, and the stream that it reads now. `began`: its map when that stream was opened."""

    is_gzip: bool
    have: NetworkMap | None = None
    began: NetworkMap | None = None
    wire: Wire | None = None

    def connect(self, hub: Hub, room: int) -> None:
        self.hang_up()
        self.began = self.have
        self.wire = Wire(room)
        since = self.have.version if self.have is not None else None
        hub.open(cast("GuardedProtocol", Connection(self.wire)), public_key(READER), since, is_gzip=self.is_gzip)

    def hang_up(self) -> None:
        """What was read counts as far as it is complete."""
        if self.wire is not None:
            self.read()
            self.wire.abort()
            self.wire = None

    def read(self) -> None:
        """Take all that was written on this stream."""
        assert self.wire is not None
        self.wire.drain()
        body = unchunk(b"".join(self.wire.written).partition(b"\r\n\r\n")[2])
        receiver, self.have = MapReceiver(), self.began
        for event in EventParser().feed(inflate(body) if self.is_gzip else body):
            update = receiver.take(event)
            if update is not None:
                self.have = apply(self.have, update, public_key(READER))

    def has(self, snapshot: Snapshot) -> bool:
        """Whether its map is exactly that one."""
        if self.have is None or self.have.revision != snapshot.revision:
            return False
        assert {self.have.me.public_key: self.have.me, **self.have.peers} == peers_of(snapshot)
        return True


CLIENTS = st.integers(0, 2)
EVENTS = st.one_of(
    st.tuples(st.just("change"), st.lists(COMMANDS, min_size=1, max_size=4)),
    st.tuples(st.just("connect"), st.tuples(CLIENTS, st.integers(1, 4))),
    st.tuples(st.just("read"), CLIENTS),
    st.tuples(st.just("hang up"), CLIENTS),
    st.tuples(st.just("turns"), st.integers(1, 4)),
)


@given(st.lists(EVENTS, min_size=5, max_size=60))
@settings(deadline=None, max_examples=200)
async def test_every_reader_ends_with_exactly_the_map(events: Sequence[tuple[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK_PEERS", 2)
        patch.setattr(pushing, "FEW_RECORDS", 2)
        for slice_of_work in ("SLICE", "CATCHING_UP", "PORTION"):
            patch.setattr(streams, slice_of_work, 1)
        snapshot = after(empty(), *(register(seed) for seed in range(READER, 7)))
        hub = Hub(snapshot, encode)
        clients = [Client(is_gzip=False), Client(is_gzip=True), Client(is_gzip=True)]
        for kind, what in events:
            match kind:
                case "change":
                    snapshot = after(snapshot, *what)
                    hub.publish(snapshot)
                case "connect":
                    clients[what[0]].connect(hub, what[1])
                case "read" if clients[what].wire is not None:
                    clients[what].read()
                case "hang up":
                    clients[what].hang_up()
                case "turns":
                    for _ in range(what):
                        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while not all(client.has(snapshot) for client in clients):
                for client in clients:
                    if client.wire is None or client.wire.is_cut:
                        client.connect(hub, room=1)
                    client.read()
                await asyncio.sleep(0)
        for client in clients:
            client.hang_up()
        await asyncio.sleep(0)
        assert len(hub) == 0


async def test_what_nobody_sees_is_told_nobody() -> None:
    snapshot = after(empty(), register(READER), register(1, signed=False))
    hub = Hub(snapshot, encode)
    client = Client(is_gzip=True)
    client.connect(hub, room=100)
    assert client.wire is not None
    written = len(client.wire.written)
    hub.publish(after(snapshot, register(1, signed=True)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(client.wire.written) == written
    client.hang_up()


async def test_what_changes_amid_a_push_is_pushed_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SLICE", 1)
    snapshot = after(empty(), register(READER))
    hub = Hub(snapshot, encode)
    clients = [Client(is_gzip=False) for _ in range(3)]
    for client in clients:
        client.connect(hub, room=100)
    for seed in (1, 2, 3):
        snapshot = after(snapshot, register(seed))
        hub.publish(snapshot)
        for _ in range(2):
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while not all(client.has(snapshot) for client in clients):
            await asyncio.sleep(0)
            for client in clients:
                client.read()
    for client in clients:
        client.hang_up()


async def test_a_connection_that_is_gone_becomes_no_stream() -> None:
    class Gone(Connection):
        def hand_over(self, heir: OneWayProtocol) -> bool:  # noqa: ARG002  # as the real one
            return False

    hub = Hub(after(empty(), register(READER)), encode)
    hub.open(cast("GuardedProtocol", Gone(Wire(1))), public_key(READER), None, is_gzip=False)
    assert len(hub) == 0

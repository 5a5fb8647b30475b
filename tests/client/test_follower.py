"""Following the map through everything that happens to streams: cuts, silence, nonsense, proxies, other servers."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.conftest import until
from tests.core.samples import EPOCH, empty, public_key, register
from tests.core.test_following import written
from tests.core.test_registry import BATCHES
from wireguard_mesh.client import clock
from wireguard_mesh.client.control import Control, NotRegistered
from wireguard_mesh.client.dial import Dialer, Unreachable
from wireguard_mesh.client.follower import Follower
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.server_contact import ServerContact
from wireguard_mesh.core import feed
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Command, Leave
from wireguard_mesh.core.known_map import KnownMap
from wireguard_mesh.core.netmap import apply
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import MeshError, Unavailable
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.api import MapUpdate
from wireguard_mesh.protocol.events import KEEPALIVE, retry_field
from wireguard_mesh.protocol.status import MapSource

ME = public_key(1)
NOWHERE = ServerAddress("http", "127.0.0.1", 9)
HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")
Talk = Callable[["Open", MapVersion | None], Awaitable[None]]


class Open:
    """An open stream; `None` in `pieces` ends it, an error breaks it."""

    def __init__(self, source: Address | None) -> None:
        self.source = source
        self.sent: asyncio.Queue[bytes | MeshError | None] = asyncio.Queue()
        self.is_closed = False

    def send(self, *parts: bytes | MeshError | None) -> None:
        for part in parts:
            self.sent.put_nowait(part)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        while (part := await self.sent.get()) is not None:
            if isinstance(part, MeshError):
                raise part
            yield part


class Server:
    """A mesh, and a control that reaches it. `talk` gets each new stream; as it is, it does what a server does."""

    def __init__(self) -> None:
        self.http = HttpClient(Dialer(NOWHERE))
        self.snapshot = decide(empty(), [register(1)], 0.0).snapshot
        self.streams: list[Open] = []
        self.asked: list[MapVersion | None] = []
        self.since: list[MapVersion | None] = []
        self.faults: list[MeshError] = []
        self.stream_faults: list[MeshError] = []
        self.source: Address | None = HERE
        self.talk: Talk = self.serve

    def change(self, *commands: Command) -> None:
        self.snapshot = decide(self.snapshot, commands, 0.0).snapshot

    def push(self) -> None:
        """Tell the stream that is open what it lacks."""
        self.streams[-1].send(self.step(self.since[-1]))

    def update(self, since: MapVersion | None) -> MapUpdate:
        return changes_since(self.snapshot, ME, since)

    def step(self, since: MapVersion | None) -> bytes:
        return written(self.update(since))

    async def serve(self, stream: Open, since: MapVersion | None) -> None:
        stream.send(retry_field(0), self.step(since))

    async def map(self, since: MapVersion | None) -> MapUpdate:
        self.asked.append(since)
        if self.faults:
            raise self.faults.pop(0)
        return self.update(since)

    @contextlib.asynccontextmanager
    async def stream(self, since: MapVersion | None) -> AsyncIterator[Open]:
        self.since.append(since)
        if self.stream_faults:
            raise self.stream_faults.pop(0)
        made = Open(self.source)
        self.streams.append(made)
        await self.talk(made, since)
        try:
            yield made
        finally:
            made.is_closed = True


class Following:
    """A follower of that server."""

    def __init__(self, server: Server, interval: float = 60.0) -> None:
        self.server = server
        self.known = KnownMap(ME)
        self.registered = 0
        contact = ServerContact(NOWHERE, clock.now, lambda: True, lambda: None, lambda: self.one.server_answers())
        self.contact = contact
        self.one = Follower(
            cast(Control, server),
            self.known,
            contact,
            interval,
            clock.now,
            on_map=lambda: None,
            register=self.register,
        )
        self.task = asyncio.create_task(self.one.run())

    async def register(self, _call: str, _error: NotRegistered, _times: int) -> None:
        self.registered += 1
        self.server.change(register(1))

    @property
    def is_equal(self) -> bool:
        """Whether it has what a fresh client would get."""
        fresh = apply(None, self.server.update(None), ME)
        known = self.known.map
        return known is not None and (known.me, dict(known.peers), known.version) == (
            fresh.me,
            dict(fresh.peers),
            fresh.version,
        )

    async def by(self, source: MapSource) -> None:
        await until(lambda: self.one.source is source and self.is_equal)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        assert all(stream.is_closed for stream in self.server.streams)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    make_haste(monkeypatch)


def make_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RETRY", Backoff(first=0.001, longest=0.002))
    monkeypatch.setattr(feed, "AGAIN", Backoff(first=0.001, longest=0.002))
    monkeypatch.setattr("wireguard_mesh.client.follower._CALLS", (1000, 1000.0))


def waits(monkeypatch: pytest.MonkeyPatch, **seconds: float | Backoff) -> None:
    for name, value in seconds.items():
        monkeypatch.setattr(feed, name, value)


async def test_changes_come_over_one_stream() -> None:
    server = Server()
    following = Following(server)
    await following.by(MapSource.STREAM)
    for seed in (2, 3):
        since = following.known.since
        server.change(register(seed))
        server.streams[0].send(server.step(since))
        await until(lambda: following.is_equal)
    server.streams[0].send(KEEPALIVE)
    before = following.known.current_at
    await until(lambda: following.known.current_at != before)
    assert (server.since, server.asked) == ([None], [])
    await following.end()


async def test_a_stream_that_breaks_goes_on_from_where_it_was() -> None:
    server = Server()
    following = Following(server)
    await following.by(MapSource.STREAM)
    server.change(register(2))
    server.streams[0].send(Unavailable("broke"))
    await following.by(MapSource.STREAM)
    assert server.since == [None, MapVersion(EPOCH, 1)]
    await following.end()


async def test_a_step_that_was_cut_counts_for_nothing() -> None:
    server = Server()
    following = Following(server)
    await following.by(MapSource.STREAM)
    server.change(register(2), register(3))
    server.streams[0].send(server.step(MapVersion(EPOCH, 1))[:-3], Unavailable("cut"))
    await following.by(MapSource.STREAM)
    assert server.since[1] == MapVersion(EPOCH, 1)
    await following.end()


async def test_a_stream_that_brings_nothing_is_no_way_and_one_that_does_is_one_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As behind a proxy that keeps everything to itself, until somebody puts it right."""
    waits(monkeypatch, FIRST_STEP=0.02)
    caplog.set_level(logging.INFO)
    server = Server()

    async def swallow(_stream: Open, _since: MapVersion | None) -> None:
        """Nothing comes out of it."""

    server.talk = swallow
    following = Following(server, interval=0.01)
    await until(lambda: following.one.source is MapSource.POLLING and len(server.asked) > 2 and len(server.streams) > 2)
    assert following.contact.state.works
    assert following.one.problem == "nothing came"
    server.change(register(2))
    await until(lambda: following.is_equal)
    server.talk = server.serve
    await following.by(MapSource.STREAM)
    assert not following.one.problem
    asked = len(server.asked)
    server.change(register(3))
    server.streams[-1].send(server.step(following.known.since))
    await until(lambda: following.is_equal)
    assert len(server.asked) == asked
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(",")[0] for text in said] == [
        "changes do not come by stream",
        "changes come by stream again",
    ]
    await following.end()


async def test_a_proxy_that_lets_only_keepalives_through_is_no_way_either(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, FIRST_STEP=0.1)
    server = Server()

    async def keepalives(stream: Open, _since: MapVersion | None) -> None:
        stream.send(*[KEEPALIVE] * 5)

    server.talk = keepalives
    following = Following(server)
    await following.by(MapSource.POLLING)
    await following.end()


async def test_a_stream_that_falls_silent_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, SILENCE=0.05)
    server = Server()
    following = Following(server)
    await until(lambda: len(server.streams) > 3)
    assert server.since[1:4] == [MapVersion(EPOCH, 1)] * 3
    await following.end()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"event: upsert\ndata: {\n\n",
        b"event: current\nid: nonsense\ndata:{}\n\n",
        b"data:" + b"x" * (2 * 1024 * 1024),
        b"event: snapshot\ndata:{}\n\n",
    ],
    ids=["no json", "no version", "a line without end", "no network"],
)
async def test_nonsense_is_no_stream_and_breaks_nothing(nonsense: bytes) -> None:
    server = Server()

    async def talk(stream: Open, _since: MapVersion | None) -> None:
        stream.send(nonsense)

    server.talk = talk
    following = Following(server)
    await following.by(MapSource.POLLING)
    assert "cannot be read" in following.one.problem
    server.talk = server.serve
    await following.by(MapSource.STREAM)
    server.streams[-1].send(nonsense)
    await until(lambda: server.streams[0].is_closed)
    await following.by(MapSource.STREAM)
    await following.end()


@pytest.mark.parametrize("fault", [Unavailable("503"), MeshError("502 by somebody else")])
async def test_a_stream_that_is_refused_is_no_way(monkeypatch: pytest.MonkeyPatch, fault: MeshError) -> None:
    waits(monkeypatch, AGAIN=Backoff(first=60.0, longest=60.0))
    server = Server()
    server.stream_faults = [fault]
    following = Following(server)
    await following.by(MapSource.POLLING)
    following.one.network_changed([HERE])
    await following.by(MapSource.STREAM)
    await following.end()


async def test_streams_that_are_cut_at_once_again_and_again_are_no_way() -> None:
    server = Server()

    async def cut(stream: Open, since: MapVersion | None) -> None:
        await server.serve(stream, since)
        stream.send(None)

    server.talk = cut
    following = Following(server)
    await until(lambda: len(server.asked) > 1)
    assert len(server.streams) > feed.SHORT_ONES
    server.change(register(2))
    await until(lambda: following.is_equal)
    await following.end()


async def test_a_server_that_cannot_be_reached_is_not_asked_but_tried(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.stream_faults = [Unreachable("refused") for _ in range(5)]
    following = Following(server)
    await following.by(MapSource.STREAM)
    assert server.asked == []
    assert sum("refused" in record.getMessage() for record in caplog.records) == 1
    await following.end()


async def test_another_epoch_is_another_map() -> None:
    server = Server()
    following = Following(server)
    server.change(register(2), register(3))
    await following.by(MapSource.STREAM)
    other = Snapshot.of(epoch="other", network=server.snapshot.network)
    server.snapshot = decide(other, [register(4), register(1)], 0.0).snapshot
    server.streams[-1].send(None)
    await following.by(MapSource.STREAM)
    assert following.known.since == MapVersion("other", server.snapshot.revision)
    await following.end()


async def test_a_change_that_does_not_follow_asks_for_the_whole() -> None:
    server = Server()
    following = Following(server)
    await following.by(MapSource.STREAM)
    server.streams[0].send(b"event:current\nid:other.7\ndata:{}\n\n")
    await until(lambda: len(server.since) > 1)
    await following.by(MapSource.STREAM)
    assert server.since == [None, None]
    await following.end()


async def test_one_that_was_forgotten_registers_and_goes_on() -> None:
    server = Server()
    following = Following(server)
    await following.by(MapSource.STREAM)
    server.change(Leave(public_key=ME, signed=True))
    server.stream_faults = [NotRegistered("who?")]
    server.streams[0].send(None)
    await until(lambda: following.registered == 1)
    await following.by(MapSource.STREAM)
    await following.end()


async def test_a_server_whose_streams_know_nobody_is_asked_instead() -> None:
    server = Server()
    server.stream_faults = [NotRegistered("no such page") for _ in range(4)]
    following = Following(server)
    await until(lambda: len(server.asked) > 0)
    assert following.is_equal or following.known.map is None
    await following.by(MapSource.STREAM)
    await following.end()


async def test_while_asking_one_that_was_forgotten_registers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, AGAIN=Backoff(first=100.0, longest=100.0))
    server = Server()
    server.stream_faults = [Unavailable("503")] * 100
    server.faults = [NotRegistered("who?"), Unavailable("busy")]
    following = Following(server)
    await following.by(MapSource.POLLING)
    assert following.registered == 1
    assert len(server.asked) >= 3
    await following.end()


async def test_while_a_proxy_answers_for_a_server_that_is_away_changes_come_by_no_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits(monkeypatch, AGAIN=Backoff(first=100.0, longest=100.0))
    server = Server()
    server.stream_faults = [Unavailable("502")]
    server.faults = [Unavailable("502")] * 1000
    following = Following(server)
    await until(lambda: len(server.asked) > 3)
    assert following.one.source is MapSource.NONE
    server.faults.clear()
    await following.by(MapSource.STREAM)
    assert "holds streams back" not in caplog.text
    server.stream_faults = [Unavailable("no streams")]
    server.streams[-1].send(None)
    await following.by(MapSource.POLLING)
    assert following.one.problem == "no streams"
    server.faults = [Unavailable("502")] * 1000
    following.one.head_is(MapVersion(EPOCH, 2))
    await until(lambda: following.one.source is MapSource.NONE)
    await following.end()


async def test_news_that_a_heartbeat_told_are_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, AGAIN=Backoff(first=100.0, longest=100.0))
    server = Server()
    server.stream_faults = [Unavailable("503")]
    following = Following(server)
    await following.by(MapSource.POLLING)
    server.change(register(2))
    following.one.head_is(MapVersion(EPOCH, 1))
    assert following.known.lag == 0
    following.one.head_is(MapVersion(EPOCH, 2))
    assert following.known.lag == 1
    await until(lambda: following.is_equal)
    assert following.known.lag == 0
    await following.end()


async def test_a_stream_that_stays_behind_what_a_heartbeat_told_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, BEHIND=0.05)
    server = Server()
    following = Following(server)
    await following.by(MapSource.STREAM)
    server.change(register(2))
    following.one.head_is(MapVersion(EPOCH, 2))
    server.streams[0].send(KEEPALIVE)
    await following.by(MapSource.STREAM)
    assert len(server.streams) == 2
    await following.end()


@pytest.mark.parametrize(
    ("source", "addresses", "is_replaced"),
    [
        (HERE, {HERE, THERE}, False),
        (HERE, {THERE}, True),
        (None, {THERE}, True),
        (ip_address("127.0.0.1"), set[Address](), False),
    ],
)
async def test_a_stream_from_an_address_that_is_gone_is_replaced(
    source: Address | None, addresses: set[Address], is_replaced: bool
) -> None:
    server = Server()
    server.source = source
    following = Following(server)
    await following.by(MapSource.STREAM)
    server.streams[0].send(retry_field(1000))  # nobody waits for its turn with a network that is new
    server.streams[0].send(KEEPALIVE)
    await until(lambda: server.streams[0].sent.empty())
    following.one.network_changed(addresses)
    if is_replaced:
        await until(lambda: len(server.streams) == 2)
        await following.by(MapSource.STREAM)
    server.change(register(2))
    server.streams[-1].send(server.step(following.known.since))
    await until(lambda: following.is_equal)
    assert len(server.streams) == 1 + is_replaced
    await following.end()


async def test_another_network_begins_anew_what_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    waits(monkeypatch, AGAIN=Backoff(first=100.0, longest=100.0))
    server = Server()

    async def hang(_stream: Open, _since: MapVersion | None) -> None:
        await asyncio.Event().wait()

    server.talk = hang
    following = Following(server)
    await until(lambda: len(server.streams) == 1)
    server.talk = server.serve
    following.one.network_changed({HERE})
    await following.by(MapSource.STREAM)
    assert server.asked == []
    server.streams[0].is_closed = True  # it never was open
    await following.end()


async def test_a_fault_of_ours_is_said_once_and_everything_asked_for_anew(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    following = Following(server)
    faults = [ZeroDivisionError("ours") for _ in range(2)]

    def on_map() -> None:
        if faults:
            raise faults.pop()

    following.one._on_map = on_map
    await following.by(MapSource.STREAM)
    assert server.since == [None, None, None]
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    await following.end()


async def test_a_fault_of_ours_while_asking_is_no_end_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits(monkeypatch, AGAIN=Backoff(first=100.0, longest=100.0))
    server = Server()
    server.stream_faults = [Unavailable("503")] * 100
    following = Following(server, interval=0.01)
    faults = [ZeroDivisionError("ours") for _ in range(2)]

    def on_map() -> None:
        if faults:
            raise faults.pop()

    following.one._on_map = on_map
    await following.by(MapSource.POLLING)
    await until(lambda: not faults and following.contact.state.works)
    assert server.asked[:3] == [None, None, None]
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    await following.end()


CUTS = st.lists(st.tuples(st.integers(0, 4000), st.booleans(), st.integers(1, 700)), max_size=8)


@given(BATCHES, CUTS)
@settings(max_examples=60, deadline=None)
def test_whatever_is_cut_wherever_the_map_is_the_servers_in_the_end(
    batches: list[tuple[list[Command], float]], cuts: list[tuple[int, bool, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        make_haste(patch)
        asyncio.run(_live_through(batches, cuts))


async def _live_through(batches: list[tuple[list[Command], float]], cuts: list[tuple[int, bool, int]]) -> None:
    """Each stream is cut where the next of `cuts` says, in pieces of that size, while the mesh goes on changing."""
    server = Server()
    todo = list(batches)

    async def talk(stream: Open, since: MapVersion | None) -> None:
        if public_key(1) not in server.snapshot.records:
            raise NotRegistered("who?")
        text = server.step(since)
        since = MapVersion(server.snapshot.epoch, server.snapshot.revision)
        for _ in range(2):  # changes that come while it is open
            if todo:
                before = server.snapshot
                server.snapshot = decide(server.snapshot, todo[0][0], todo.pop(0)[1]).snapshot
                if public_key(1) not in server.snapshot.records:
                    server.snapshot = before
                text += server.step(since)
                since = MapVersion(server.snapshot.epoch, server.snapshot.revision)
        size = 700
        end: bytes | MeshError | None = b""
        if cuts:
            where, is_clean, size = cuts.pop()
            text, end = text[:where], None if is_clean else Unavailable("cut")
        stream.send(*(text[start : start + size] for start in range(0, len(text), size)), end)

    server.talk = talk
    following = Following(server)
    await until(lambda: not cuts and following.one.source is MapSource.STREAM and following.is_equal)
    await following.end()

"""Membership against a control that is scripted: no network, and time that the test turns."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.client.conftest import until
from tests.core.test_following import written
from tests.samples import NETWORK, peer
from wireguard_mesh.client import clock, membership
from wireguard_mesh.client.control import Control, NotRegistered, ServerRefused
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.membership import Intervals, Machine, Membership
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.known_map import KnownMap
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import MeshError, Unavailable
from wireguard_mesh.model.peers import MapVersion, NetworkMap, Peer
from wireguard_mesh.model.relays import RelayDistance, RelayId
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.status import MapSource

ONE = Machine(hostname="one", os="linux", version="1")


def snapshot(revision: int, *numbers: int, epoch: str = "e") -> api.MapUpdate:
    return api.MapUpdate(
        kind=api.UpdateKind.SNAPSHOT,
        epoch=epoch,
        revision=revision,
        network=NETWORK,
        upsert=tuple(map(peer, (1, *numbers))),
    )


class Open:
    """A stream that is open: what is put into `updates` comes over it; None ends it."""

    source = None

    def __init__(self) -> None:
        self.updates: asyncio.Queue[api.MapUpdate | None] = asyncio.Queue()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        while (update := await self.updates.get()) is not None:
            yield written(update)


@dataclass
class Script:
    """A control that answers as it is told; a stream begins with where the asker is, and goes on with `updates`."""

    http: HttpClient = field(default_factory=lambda: HttpClient(Dialer(ServerAddress("http", "127.0.0.1", 9))))
    calls: list[tuple[str, Any]] = field(default_factory=list)
    faults: dict[str, list[MeshError]] = field(default_factory=dict)
    first: api.MapUpdate | None = field(default_factory=lambda: snapshot(1, 2))
    head: MapVersion = field(default_factory=lambda: MapVersion("e", 1))
    heartbeat_seconds: float = 1000.0
    leaving: asyncio.Event | None = None
    streams: list[Open] = field(default_factory=list)

    def note(self, name: str, what: Any) -> None:
        self.calls.append((name, what))
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    async def register(self, request: api.RegisterRequest) -> api.RegisterResponse:
        self.note("register", request)
        return api.RegisterResponse(
            peer_id=peer(1).id,
            me=peer(1),
            map=self.first,
            heartbeat_seconds=self.heartbeat_seconds,
            offline_seconds=120,
        )

    async def heartbeat(self, request: api.HeartbeatRequest) -> api.HeartbeatResponse:
        self.note("heartbeat", request)
        return api.HeartbeatResponse(epoch=self.head.epoch, revision=self.head.revision, time=0)

    def answer(self, since: MapVersion | None) -> api.MapUpdate:
        if since is None:
            return snapshot(self.head.revision, 2, epoch=self.head.epoch)
        return api.MapUpdate(kind=api.UpdateKind.CURRENT, epoch=since.epoch, revision=since.revision)

    async def map(self, since: MapVersion | None) -> api.MapUpdate:
        self.note("map", since)
        return self.answer(since)

    @contextlib.asynccontextmanager
    async def stream(self, since: MapVersion | None) -> AsyncIterator[Open]:
        self.note("stream", since)
        made = Open()
        made.updates.put_nowait(self.answer(since))
        self.streams.append(made)
        yield made

    async def leave(self) -> None:
        self.note("leave", None)
        if self.leaving is not None:
            await self.leaving.wait()


class Made:
    """A membership, and what it told."""

    def __init__(self, *, heartbeat: float = 1000.0, is_member: bool = False) -> None:
        self.script = Script()
        self.machine = ONE
        self.maps: list[NetworkMap] = []
        self.members: list[Peer] = []
        self.troubles = 0
        self.known = KnownMap(peer(1).public_key)
        self.membership = Membership(
            cast(Control, self.script),
            self.known,
            lambda: self.machine,
            Intervals(heartbeat, 60.0),
            clock.now,
            on_member=self.members.append,
            on_map=self.take,
            on_trouble=self.trouble,
            is_member=is_member,
        )
        self.task: asyncio.Task[None] | None = None

    def take(self) -> None:
        if self.known.map is not None and self.known.map not in self.maps:
            self.maps.append(self.known.map)

    def trouble(self) -> None:
        self.troubles += 1

    async def run_until(self, condition: Callable[[], bool]) -> None:
        if self.task is None:
            self.task = asyncio.create_task(self.membership.run())
        await until(condition)

    async def follow(self) -> None:
        """Run until the stream works."""
        await self.run_until(lambda: self.membership.follower.source is MapSource.STREAM)

    async def end(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])


async def test_registers_then_follows_from_what_it_has() -> None:
    made = Made()
    await made.follow()
    assert [name for name, _ in made.script.calls] == ["register", "stream"]
    assert made.script.calls[1][1] == MapVersion("e", 1)
    assert set(made.maps[0].peers) == {peer(2).public_key}
    assert made.members == [peer(1)]
    await made.end()


async def test_goes_on_from_the_map_of_the_last_run() -> None:
    made = Made(is_member=True)
    made.known.take(snapshot(7, 2), None, clock.now())
    made.script.first = api.MapUpdate(kind=api.UpdateKind.DELTA, epoch="e", revision=9, upsert=(peer(3),))
    await made.follow()
    assert made.script.calls[0][1].since == MapVersion("e", 7)
    assert made.script.calls[1] == ("stream", MapVersion("e", 9))
    assert set(made.maps[0].peers) == {peer(2).public_key, peer(3).public_key}
    await made.end()


async def test_beats_as_often_as_the_server_asks_but_not_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "SHORTEST_HEARTBEAT", 0.01)
    made = Made()
    made.script.heartbeat_seconds = 0.0
    await made.run_until(lambda: made.script.count("heartbeat") >= 2)
    await made.end()


async def test_a_large_map_comes_by_stream() -> None:
    made = Made()
    made.script.first = None
    await made.follow()
    assert made.script.calls[1] == ("stream", None)
    assert made.members == [peer(1)]
    assert set(made.maps[0].peers) == {peer(2).public_key}
    await made.end()


async def test_beats_in_its_interval() -> None:
    made = Made(heartbeat=0.01)
    await made.run_until(lambda: made.script.count("heartbeat") >= 3)
    await made.end()


async def test_each_beat_says_all_since_the_server_may_have_lost_it() -> None:
    made = Made(heartbeat=0.01)
    endpoint, mapped = Endpoint.parse("192.0.2.1:51820"), Endpoint.parse("198.51.100.1:40000")
    distance = RelayDistance(RelayId("r1"), 12)
    made.machine = Machine(
        hostname="one",
        os="linux",
        version="1",
        endpoints=(endpoint,),
        mapped=(mapped,),
        distances=(distance,),
        exit_node=True,
    )
    await made.run_until(lambda: made.script.count("heartbeat") >= 2)
    beats = [said for name, said in made.script.calls if name == "heartbeat"]
    assert set(beats) == {
        api.HeartbeatRequest(endpoints=(endpoint,), mapped=(mapped,), distances=(distance,), exit_node=True)
    }
    await made.end()


async def test_tells_what_changed_at_once() -> None:
    made = Made()
    await made.follow()
    endpoint = Endpoint.parse("192.0.2.1:51820")
    made.machine = Machine(hostname="one", os="linux", version="1", endpoints=(endpoint,))
    made.membership.announce()
    await until(lambda: made.script.count("heartbeat") == 1)
    said = api.HeartbeatRequest(endpoints=(endpoint,), mapped=(), distances=(), exit_node=False)
    assert ("heartbeat", said) in made.script.calls
    await made.end()


async def test_a_new_name_is_registered() -> None:
    made = Made()
    await made.follow()
    made.machine = Machine(hostname="two", os="linux", version="1")
    made.membership.announce()
    await until(lambda: made.script.count("register") == 2)
    await made.end()


async def test_registers_again_when_the_server_forgot_it() -> None:
    made = Made(heartbeat=0.01)
    made.script.faults["heartbeat"] = [NotRegistered("who?")]
    await made.run_until(lambda: made.script.count("register") == 2)
    await made.end()


async def test_a_fault_is_said_once_and_its_end_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    caplog.set_level(logging.INFO)
    made = Made()
    made.script.faults["register"] = [Unavailable("refused by .1"), Unavailable("refused by .2"), Unavailable("x")]
    await made.follow()
    said = [record.getMessage() for record in caplog.records]
    assert sum("trying again" in text for text in said) == 1
    assert sum("answers again" in text for text in said) == 1
    assert made.troubles == 1
    assert made.membership.contact.works
    await made.end()


async def test_a_refusal_ends_a_first_join() -> None:
    made = Made()
    made.script.faults["register"] = [ServerRefused("closed")]
    with pytest.raises(ServerRefused):
        await made.membership.run()


async def test_a_refusal_does_not_end_a_membership(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    made = Made(is_member=True)
    made.script.faults["register"] = [ServerRefused("closed")]
    await made.follow()
    await made.end()


@pytest.mark.parametrize("fault", [[], [NotRegistered("who?")]])
async def test_leaving_is_for_good(fault: list[MeshError]) -> None:
    made = Made(heartbeat=0.05)
    made.script.faults["leave"] = list(fault)
    await made.follow()
    await made.membership.leave()
    made.script.faults["heartbeat"] = [NotRegistered("who?")]
    assert made.task is not None
    async with asyncio.timeout(10):
        await made.task
    assert made.script.count("register") == 1


async def test_nobody_registers_while_leaving(caplog: pytest.LogCaptureFixture) -> None:
    """The question that is open hears that we have left before we do."""
    caplog.set_level(logging.INFO)
    made = Made(heartbeat=0.01)
    await made.follow()
    made.script.leaving = asyncio.Event()
    leaving = asyncio.create_task(made.membership.leave())
    made.script.faults["heartbeat"] = [NotRegistered("who?")]
    await until(lambda: not made.script.faults["heartbeat"])
    made.membership.announce()
    for _ in range(100):
        await asyncio.sleep(0)
    made.script.leaving.set()
    await leaving
    assert made.task is not None
    async with asyncio.timeout(10):
        await made.task
    assert made.script.count("register") == 1
    assert "registering again" not in caplog.text


async def test_leaving_in_vain_goes_on_being_a_member() -> None:
    made = Made(heartbeat=0.01)
    made.script.faults["leave"] = [Unavailable("cannot be reached")]
    await made.follow()
    with pytest.raises(Unavailable):
        await made.membership.leave()
    made.script.faults["heartbeat"] = [NotRegistered("who?")]
    await until(lambda: made.script.count("register") == 2)
    await made.end()


async def test_a_server_that_forgets_for_ever_is_said_once_and_not_asked_in_a_busy_loop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[int] = []

    def delay(self: Backoff, failures: int, random: float) -> float:
        delays.append(failures)
        return 0.0

    monkeypatch.setattr(Backoff, "delay", delay)
    caplog.set_level(logging.INFO)
    made = Made(heartbeat=0.001)
    made.script.faults["heartbeat"] = [NotRegistered("who?") for _ in range(30)]
    await made.run_until(lambda: not made.script.faults["heartbeat"])
    assert delays == list(range(1, 31))
    said = [record.getMessage() for record in caplog.records]
    assert sum("registering again" in text for text in said) == 1
    assert sum("trying again" in text for text in said) == 1
    await made.end()


async def test_a_signal_is_not_lost_in_a_refusal() -> None:
    """Cancelling ends it, whatever the server answers in the same instant."""
    made = Made(heartbeat=0.001)
    await made.follow()
    made.script.faults["heartbeat"] = [NotRegistered("who?") for _ in range(1000)]
    await until(lambda: len(made.script.faults["heartbeat"]) < 1000)
    assert made.task is not None
    made.task.cancel()
    done, _ = await asyncio.wait([made.task], timeout=10)
    assert made.task in done
    assert made.task.cancelled()


async def test_while_one_call_fails_the_server_does_not_answer_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    caplog.set_level(logging.INFO)
    made = Made(heartbeat=0.001)
    await made.follow()
    made.script.faults["heartbeat"] = [Unavailable("broke") for _ in range(10)]
    for revision in range(2, 7):
        made.script.streams[0].updates.put_nowait(
            api.MapUpdate(kind=api.UpdateKind.DELTA, epoch="e", revision=revision, upsert=(peer(revision),))
        )
    await until(lambda: not made.script.faults["heartbeat"] and made.membership.contact.works)
    said = [record.getMessage() for record in caplog.records]
    assert sum("broke" in text for text in said) == 1
    assert sum("answers again" in text for text in said) == 1
    await made.end()


async def test_a_map_that_cannot_be_used_is_said(caplog: pytest.LogCaptureFixture) -> None:
    made = Made()
    made.script.first = api.MapUpdate(kind=api.UpdateKind.CURRENT, epoch="e", revision=1)
    await made.run_until(lambda: "cannot be used" in made.membership.contact.problem)
    assert made.maps == []
    assert "cannot be used" in caplog.text
    assert "the tunnels stay" not in caplog.text
    await made.end()


async def test_a_fault_of_ours_is_said_once_and_the_whole_map_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Made()
    hurry(monkeypatch)
    faults = [ZeroDivisionError("ours"), ZeroDivisionError("ours")]
    await made.follow()
    made.script.head = MapVersion("e", 3)

    def take() -> None:
        if faults:
            raise faults.pop()
        made.take()

    monkeypatch.setattr(made.membership.follower, "_on_map", take)
    made.script.streams[0].updates.put_nowait(snapshot(3, 2, 3, 4))
    await until(lambda: len(made.maps) == 2)
    await made.follow()
    assert [since for name, since in made.script.calls if name == "stream"] == [MapVersion("e", 1), None, None]
    await until(lambda: made.membership.contact.works)
    assert made.task is not None
    assert not made.task.done()
    await made.end()
    assert sum(record.exc_info is not None for record in caplog.records) == 1


async def test_a_fault_of_ours_in_a_heartbeat_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hurry(monkeypatch)
    made = Made(heartbeat=0.001)
    await made.follow()
    heartbeat, faults = made.script.heartbeat, [ZeroDivisionError("ours") for _ in range(3)]

    async def broken(request: api.HeartbeatRequest) -> api.HeartbeatResponse:
        if faults:
            raise faults.pop()
        return await heartbeat(request)

    monkeypatch.setattr(made.script, "heartbeat", broken)
    await until(lambda: not faults and made.membership.contact.works)
    assert made.known.since is None or made.known.since == MapVersion("e", 1)
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    await made.end()


async def test_a_fault_of_ours_before_there_is_a_map_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made()

    async def broken(_request: api.RegisterRequest) -> api.RegisterResponse:
        raise ZeroDivisionError

    monkeypatch.setattr(made.script, "register", broken)
    with pytest.raises(ZeroDivisionError):
        await made.membership.run()


async def test_a_start_that_failed_gives_its_place_back() -> None:
    made = Made()
    assert not await made.membership.withdraw()
    await made.follow()
    await made.end()
    assert await made.membership.withdraw()
    assert made.script.count("leave") == 1


async def test_a_start_that_failed_keeps_a_place_of_before() -> None:
    made = Made(is_member=True)
    await made.follow()
    await made.end()
    assert not await made.membership.withdraw()
    assert made.script.count("leave") == 0


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("core.feed", "client.membership"):
        monkeypatch.setattr(f"wireguard_mesh.{module}.RETRY", Backoff(first=0.001, longest=0.001))

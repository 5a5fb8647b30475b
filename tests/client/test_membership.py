"""Membership against a control that is scripted: no network, and time that the test turns."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.client.conftest import until
from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.client import clock
from wireguard_mesh.client.control import Control, NotRegistered, ServerRefused
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.membership import Intervals, Machine, Membership
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import MeshError, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion, NetworkMap
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol import api

ONE = Machine(hostname="one", os="linux", version="1")


def snapshot(revision: int, *numbers: int) -> api.MapUpdate:
    return api.MapUpdate(
        kind=api.UpdateKind.SNAPSHOT,
        epoch="e",
        revision=revision,
        network=NETWORK,
        upsert=tuple(map(peer, (1, *numbers))),
    )


@dataclass
class Script:
    """A control that answers as it is told; a question about the map stays open until there is an answer."""

    http: HttpClient = field(default_factory=lambda: HttpClient(Dialer(ServerAddress("http", "127.0.0.1", 9))))
    public_key: PublicKey = field(default_factory=lambda: public_key(1))
    calls: list[tuple[str, Any]] = field(default_factory=list)
    faults: dict[str, list[MeshError]] = field(default_factory=dict)
    updates: asyncio.Queue[api.MapUpdate] = field(default_factory=asyncio.Queue)
    first: api.MapUpdate = field(default_factory=lambda: snapshot(1, 2))
    leaving: asyncio.Event | None = None

    def note(self, name: str, what: Any) -> None:
        self.calls.append((name, what))
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    async def register(self, request: api.RegisterRequest) -> api.RegisterResponse:
        self.note("register", request)
        return api.RegisterResponse(
            peer_id=peer(1).id, me=peer(1), map=self.first, heartbeat_seconds=30, offline_seconds=120
        )

    async def heartbeat(self, request: api.HeartbeatRequest) -> api.HeartbeatResponse:
        self.note("heartbeat", request)
        return api.HeartbeatResponse(epoch="e", revision=1, time=0)

    async def map(self, since: MapVersion | None, wait: int) -> api.MapUpdate:
        self.note("map", since)
        if wait == 0 and self.updates.empty():
            return api.MapUpdate(kind=api.UpdateKind.CURRENT, epoch="e", revision=since.revision if since else 1)
        assert wait in {0, 60}
        return await self.updates.get()

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
        self.troubles = 0
        self.membership = Membership(
            cast(Control, self.script),
            lambda: self.machine,
            Intervals(heartbeat, 60.0),
            clock.now,
            on_map=self.maps.append,
            on_trouble=self.trouble,
            is_member=is_member,
        )
        self.task: asyncio.Task[None] | None = None

    def trouble(self) -> None:
        self.troubles += 1

    async def run_until(self, condition: Callable[[], bool]) -> None:
        if self.task is None:
            self.task = asyncio.create_task(self.membership.run())
        await until(condition)

    async def end(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])


async def test_registers_then_follows_from_what_it_has() -> None:
    made = Made()
    await made.run_until(lambda: made.script.count("map") == 1)
    assert [name for name, _ in made.script.calls] == ["register", "map"]
    assert made.script.calls[1][1] == MapVersion("e", 1)
    assert set(made.maps[0].peers) == {peer(2).public_key}
    await made.end()


async def test_changes_arrive_as_they_come() -> None:
    made = Made()
    delta = api.MapUpdate(kind=api.UpdateKind.DELTA, epoch="e", revision=2, upsert=(peer(3),))
    made.script.updates.put_nowait(delta)
    await made.run_until(lambda: len(made.maps) == 2)
    assert set(made.maps[1].peers) == {peer(2).public_key, peer(3).public_key}
    assert made.membership.map_received > 0
    await until(lambda: made.script.calls[-1] == ("map", MapVersion("e", 2)))
    await made.end()


@pytest.mark.parametrize("is_news", [False, True])
async def test_answers_that_come_at_once_for_ever_are_no_busy_loop(
    monkeypatch: pytest.MonkeyPatch, is_news: bool
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.membership._QUESTIONS", (3, 0.001))
    made = Made()
    kind = api.UpdateKind.DELTA if is_news else api.UpdateKind.CURRENT
    for revision in range(2, 52):
        made.script.updates.put_nowait(api.MapUpdate(kind=kind, epoch="e", revision=revision if is_news else 1))
    await made.run_until(lambda: made.script.updates.qsize() == 47)
    for _ in range(100):
        await asyncio.sleep(0)
    assert made.script.updates.qsize() == 47
    assert len(made.maps) == (4 if is_news else 1)
    await made.end()


async def test_an_update_that_does_not_follow_asks_for_the_whole_map() -> None:
    made = Made()
    made.script.updates.put_nowait(api.MapUpdate(kind=api.UpdateKind.DELTA, epoch="other", revision=2))
    await made.run_until(lambda: made.script.count("map") == 2)
    assert made.script.calls[-1] == ("map", None)
    made.script.updates.put_nowait(snapshot(5, 4))
    await until(lambda: len(made.maps) == 2)
    assert set(made.maps[1].peers) == {peer(4).public_key}
    await made.end()


async def test_beats_in_its_interval() -> None:
    made = Made(heartbeat=0.01)
    await made.run_until(lambda: made.script.count("heartbeat") >= 3)
    assert made.script.calls[-1][1] == api.HeartbeatRequest()
    await made.end()


async def test_tells_what_changed_and_only_that() -> None:
    made = Made()
    await made.run_until(lambda: made.script.count("map") == 1)
    endpoint = Endpoint.parse("192.0.2.1:51820")
    made.machine = Machine(hostname="one", os="linux", version="1", endpoints=(endpoint,))
    made.membership.announce()
    await until(lambda: made.script.count("heartbeat") == 1)
    assert ("heartbeat", api.HeartbeatRequest(endpoints=(endpoint,))) in made.script.calls
    await made.end()


async def test_a_new_name_is_registered() -> None:
    made = Made()
    await made.run_until(lambda: made.script.count("map") == 1)
    made.machine = Machine(hostname="two", os="linux", version="1")
    made.membership.announce()
    await until(lambda: made.script.count("register") == 2)
    await made.end()


async def test_announcing_asks_for_the_map_on_a_new_connection() -> None:
    made = Made()
    await made.run_until(lambda: made.script.count("map") == 1)
    made.membership.announce()
    await until(lambda: made.script.count("map") == 2)
    await made.end()


async def test_registers_again_when_the_server_forgot_it() -> None:
    made = Made(heartbeat=0.01)
    made.script.faults["heartbeat"] = [NotRegistered("who?")]
    await made.run_until(lambda: made.script.count("register") == 2)
    await made.end()


async def test_a_fault_is_said_once_and_its_end_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.membership._RETRY", _at_once())
    caplog.set_level(logging.INFO)
    made = Made()
    made.script.faults["register"] = [Unavailable("refused by .1"), Unavailable("refused by .2"), Unavailable("x")]
    await made.run_until(lambda: made.script.count("map") == 1)
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
    monkeypatch.setattr("wireguard_mesh.client.membership._RETRY", _at_once())
    made = Made(is_member=True)
    made.script.faults["register"] = [ServerRefused("closed")]
    await made.run_until(lambda: made.script.count("map") == 1)
    await made.end()


@pytest.mark.parametrize("fault", [[], [NotRegistered("who?")]])
async def test_leaving_is_for_good(fault: list[MeshError]) -> None:
    made = Made(heartbeat=0.05)
    made.script.faults["leave"] = list(fault)
    await made.run_until(lambda: made.script.count("map") == 1)
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
    await made.run_until(lambda: made.script.count("map") == 1)
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
    await made.run_until(lambda: made.script.count("map") == 1)
    with pytest.raises(Unavailable):
        await made.membership.leave()
    made.script.faults["heartbeat"] = [NotRegistered("who?")]
    await until(lambda: made.script.count("register") == 2)
    await made.end()


@pytest.mark.parametrize("call", ["map", "heartbeat"])
async def test_a_server_that_forgets_for_ever_is_said_once_and_not_asked_in_a_busy_loop(
    call: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wireguard_mesh.core.backoff import Backoff

    delays: list[int] = []

    def delay(self: Backoff, failures: int, random: float) -> float:
        delays.append(failures)
        return 0.0

    monkeypatch.setattr(Backoff, "delay", delay)
    caplog.set_level(logging.INFO)
    made = Made(heartbeat=0.001)
    made.script.faults[call] = [NotRegistered("who?") for _ in range(30)]
    await made.run_until(lambda: not made.script.faults[call])
    assert delays == list(range(1, 31))
    said = [record.getMessage() for record in caplog.records]
    assert sum("registering again" in text for text in said) == 1
    assert sum("trying again" in text for text in said) == 1
    await made.end()


async def test_a_signal_is_not_lost_in_a_refusal() -> None:
    """Cancelling ends it, whatever the server answers in the same instant."""
    made = Made(heartbeat=0.001)
    await made.run_until(lambda: made.script.count("map") == 1)
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
    monkeypatch.setattr("wireguard_mesh.client.membership._RETRY", _at_once())
    caplog.set_level(logging.INFO)
    made = Made(heartbeat=0.001)
    await made.run_until(lambda: made.script.count("map") == 1)
    made.script.faults["heartbeat"] = [Unavailable("broke") for _ in range(10)]
    for revision in range(2, 7):
        made.script.updates.put_nowait(
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
    taken: list[NetworkMap] = []
    asked: list[MapVersion | None] = []
    faults = 2

    def take(network_map: NetworkMap) -> None:
        nonlocal faults
        if len(taken) == 1 and faults:
            faults -= 1
            raise ZeroDivisionError("ours")
        taken.append(network_map)

    async def whole(since: MapVersion | None, _wait: int) -> api.MapUpdate:
        asked.append(since)
        return await made.script.updates.get() if len(taken) == 2 else snapshot(3, 2, 3, 4)

    monkeypatch.setattr(made.membership, "_on_map", take)
    monkeypatch.setattr(made.script, "map", whole)
    await made.run_until(lambda: len(taken) == 2)
    assert asked[:3] == [MapVersion("e", 1), None, None]
    assert taken[-1].revision == 3
    await until(lambda: made.membership.contact.works)
    assert made.task is not None
    assert not made.task.done()
    await made.end()
    assert sum(record.exc_info is not None for record in caplog.records) == 1


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
    await made.run_until(lambda: made.script.count("map") == 1)
    await made.end()
    assert await made.membership.withdraw()
    assert made.script.count("leave") == 1


async def test_a_start_that_failed_keeps_a_place_of_before() -> None:
    made = Made(is_member=True)
    await made.run_until(lambda: made.script.count("map") == 1)
    await made.end()
    assert not await made.membership.withdraw()
    assert made.script.count("leave") == 0


def _at_once() -> object:
    from wireguard_mesh.core.backoff import Backoff

    return Backoff(first=0.001, longest=0.001)

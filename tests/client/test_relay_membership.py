"""A relay's place in the map, against a control that is scripted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.client.conftest import running, until
from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.client import clock, relay_membership
from wireguard_mesh.client.control import NotRegistered, ServerRefused
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.relay_control import RelayControl
from wireguard_mesh.client.relay_membership import RelayMembership
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.roster import KnownRoster, Roster
from wireguard_mesh.core.sightings import Sightings
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.relays import Relay, RelayId, VantagePoint
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol import api, relay_api

POINTS = (VantagePoint(public_key(8), 8080), VantagePoint(public_key(9), 8081))
RELAY = Relay(id=RelayId("fra-1"), vantage_points=POINTS)


@dataclass
class Script:
    """Answers as it is told; a stream never begins, so the map does not come."""

    http: HttpClient = field(default_factory=lambda: HttpClient(Dialer(ServerAddress("http", "127.0.0.1", 9))))
    calls: list[tuple[str, Any]] = field(default_factory=list)
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    heartbeat_seconds: float = 1000.0
    slow: asyncio.Event | None = None

    def note(self, name: str, what: Any = None) -> None:
        self.calls.append((name, what))
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    async def pin(self) -> None:
        self.note("pin")

    async def server_info(self) -> api.ServerInfo:
        self.note("info")
        return api.ServerInfo(
            server_public_key=public_key(7),
            network=NETWORK,
            epoch="e",
            admission=api.Admission.OPEN,
            version="1",
            instance="i",
            time=1234.9,
        )

    async def register_relay(self, registration: relay_api.RelayRegistration) -> relay_api.RelayRegistered:
        self.note("register", registration)
        return relay_api.RelayRegistered(relay=RELAY, heartbeat_seconds=self.heartbeat_seconds)

    async def relay_heartbeat(self, heartbeat: relay_api.RelayHeartbeat) -> relay_api.RelayHeartbeatResponse:
        self.note("heartbeat", heartbeat)
        if self.slow is not None:
            await self.slow.wait()
            raise NotRegistered("unknown")
        return relay_api.RelayHeartbeatResponse(epoch="e", revision=1, time=1234.9)

    @contextlib.asynccontextmanager
    async def stream(self, _since: Any) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    async def leave(self) -> None:
        self.note("leave")


class Place:
    """A membership, and what it reported."""

    def __init__(self, script: Script, *, is_member: bool = False, roster: Roster | None = None) -> None:
        self.script = script
        self.relays: list[Relay] = []
        self.sightings = Sightings()
        self.sightings.registered([public_key(1)])
        self.membership = RelayMembership(
            cast(RelayControl, script),
            KnownRoster(roster),
            self.sightings,
            clock.now,
            registration=lambda time: relay_api.RelayRegistration(
                id="fra-1", vantage_points=POINTS, time=time, proof="p"
            ),
            counters=lambda: api.RelayCounters(routes=5),
            on_member=self.relays.append,
            on_map=lambda: None,
            is_member=is_member,
        )

    def see(self, vantage: int = 0) -> relay_api.Observation:
        observation = relay_api.Observation(public_key=public_key(1), vantage=vantage, over_web=True)
        self.sightings.observe(observation)
        self.membership.hurry()
        return observation

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        return running(self.membership.run())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_membership, "RETRY", Backoff(first=0.001, longest=0.001))
    monkeypatch.setattr(relay_membership, "SHORTEST_HEARTBEAT", 0.0)


async def test_it_registers_by_the_servers_clock_and_tells_what_it_sees() -> None:
    place = Place(Script())
    async with place.running():
        await until(lambda: place.relays == [RELAY])
        assert dict(place.script.calls)["register"].time == 1234
        seen = place.see()
        await until(lambda: place.script.count("heartbeat") == 1)
        heartbeat = dict(place.script.calls)["heartbeat"]
        assert (heartbeat.observations, heartbeat.counters.routes, heartbeat.map) == ((seen,), 5, None)
        assert not place.sightings.has_news


async def test_a_heartbeat_that_is_lost_is_said_again() -> None:
    place = Place(Script(faults={"heartbeat": [Unavailable("no answer")] * 2}))
    async with place.running():
        await until(lambda: place.relays)
        seen = place.see()
        await until(lambda: not place.sightings.has_news)
    said = [what.observations for name, what in place.script.calls if name == "heartbeat"]
    assert said == [(seen,)] * 3


async def test_a_server_that_has_forgotten_it_is_told_all_again() -> None:
    place = Place(Script())
    async with place.running():
        await until(lambda: place.relays)
        first = place.see()
        await until(lambda: not place.sightings.has_news)
        place.script.faults["heartbeat"] = [NotRegistered("unknown")]
        second = place.see(1)
        await until(lambda: place.script.count("register") == 2 and not place.sightings.has_news)
    assert set(place.script.calls[-1][1].observations) == {first, second}


async def test_it_beats_as_often_as_the_server_asks() -> None:
    place = Place(Script(heartbeat_seconds=0.001))
    async with place.running():
        await until(lambda: place.script.count("heartbeat") >= 3)


@pytest.mark.parametrize("is_member", [True, False])
async def test_a_refusal_ends_only_who_was_never_taken_in(is_member: bool) -> None:
    place = Place(Script(faults={"register": [ServerRefused("wrong key")]}), is_member=is_member)
    if is_member:
        async with place.running():
            await until(lambda: place.relays)
    else:
        with pytest.raises(ServerRefused):
            await place.membership.run()


async def test_a_fault_of_ours_ends_no_relay_that_serves(caplog: pytest.LogCaptureFixture) -> None:
    roster = Roster(epoch="e", revision=1, peers={peer(1).id: public_key(1)})
    place = Place(Script(faults={"heartbeat": [RuntimeError("oops")]}), roster=roster)
    async with place.running():
        await until(lambda: place.relays)
        place.see()
        await until(lambda: not place.sightings.has_news)
    assert "a fault of this program" in caplog.text
    strange = Place(Script(faults={"register": [RuntimeError("oops")]}))
    with pytest.raises(RuntimeError):
        await strange.membership.run()


@pytest.mark.parametrize("fault", [None, NotRegistered("unknown"), Unavailable("gone")])
async def test_leaving_is_said_once_and_nobody_registers_after_it(
    fault: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    script = Script(faults={"leave": [fault] if fault else []})
    place = Place(script)
    async with place.running():
        await until(lambda: place.relays)
        script.slow = asyncio.Event()
        place.see()
        await until(lambda: script.count("heartbeat"))
        await place.membership.leave()
        script.slow.set()
        place.sightings.told(place.sightings.next())
        for _ in range(20):
            await asyncio.sleep(0)
    assert script.count("leave") == 1
    assert script.count("register") == 1
    assert caplog.text == ""


async def test_a_server_that_does_not_answer_keeps_nobody_from_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_membership, "LAST_WORD", 0.01)
    script = Script()

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(script, "leave", cast(Callable[[], Any], hang))
    await Place(script).membership.leave()

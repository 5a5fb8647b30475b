"""Relays come, live, see peers and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import msgspec
import pytest

from tests.core.samples import public_key, relay
from tests.server.conftest import RELAY_KEY, SERVER_KEY, Server
from tests.waiting import until
from wireguard_mesh.core.commands import PutRelay
from wireguard_mesh.core.ratelimit import RateLimited
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, NotFound, NotPermitted, Unavailable
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import OWN_RELAY, NatClass, Relay, RelayId, VantagePoint
from wireguard_mesh.protocol.api import RelayCounters
from wireguard_mesh.protocol.relay_api import SILENCE_SECONDS, Observation, RelayHeartbeat, RelayRegistration
from wireguard_mesh.relay.control import Observed
from wireguard_mesh.server import relays
from wireguard_mesh.server.relays import PROOF_BURST, SWEEP_SECONDS

SOURCE = IPv4Address("192.0.2.50")
FRA = RelayId("fra-1")


def registration(server: Server, seed: int = 1, name: str = "fra-1", **changes: Any) -> RelayRegistration:
    """A relay whose first vantage point has key 500 + seed."""
    time = int(server.time.wall)
    key = public_key(500 + seed)
    message = RelayRegistration(
        id=name,
        vantage_points=relay(seed).vantage_points,
        time=time,
        proof=RELAY_KEY.proof(RelayId(name), key, SERVER_KEY.public_key, time),
        ipv4=SOURCE,
    )
    return msgspec.structs.replace(message, **changes)


async def join(server: Server, seed: int = 1, name: str = "fra-1") -> Relay:
    return await server.relays.register(
        server.relays.admit(public_key(500 + seed), registration(server, seed, name), SOURCE)
    )


async def test_a_relay_that_proves_the_key_is_in_the_map(server: Server) -> None:
    joined = await join(server)
    assert (joined.id, joined.ipv4, joined.web) == (FRA, SOURCE, False)
    assert server.mesh.snapshot.relays == (joined,)
    revision = server.mesh.snapshot.revision
    assert await join(server) == joined
    assert server.mesh.snapshot.revision == revision


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"proof": "0" * 64}, NotPermitted),
        ({"id": "fra-2"}, NotPermitted),
        ({"time": 1}, NotPermitted),
        ({"id": "Frankfurt!"}, InvalidValue),
        ({"ipv4": None}, InvalidValue),
        ({"ipv4": IPv4Address("0.0.0.0")}, InvalidValue),
        ({"ipv4": IPv4Address("224.0.0.1")}, InvalidValue),
        ({"ipv4": IPv4Address("255.255.255.255")}, InvalidValue),
        ({"ipv6": IPv6Address("::")}, InvalidValue),
        ({"vantage_points": (relay(1).vantage_points[0], VantagePoint(public_key(900), 0))}, InvalidValue),
        ({"ipv6": IPv6Address("::ffff:192.0.2.1")}, InvalidValue),
        ({"ipv6": IPv6Address("fe80::1%eth0")}, InvalidValue),
    ],
)
async def test_one_that_does_not_is_not(server: Server, changes: dict[str, Any], error: type[MeshError]) -> None:
    with pytest.raises(error):
        server.relays.admit(public_key(501), registration(server, **changes), SOURCE)


async def test_the_proof_is_for_one_key_one_time_and_one_name(server: Server) -> None:
    with pytest.raises(NotPermitted, match="relay key"):
        server.relays.admit(public_key(502), registration(server, 1), SOURCE)
    old = registration(server)
    server.time.pass_by(61)
    with pytest.raises(NotPermitted, match="another time"):
        server.relays.admit(public_key(501), old, SOURCE)
    for name in ("server", "server-1"):
        with pytest.raises(InvalidValue, match="own relay"):
            server.relays.admit(public_key(501), registration(server, name=name), SOURCE)
    points = relay(1).vantage_points
    with pytest.raises(NotPermitted, match="another key"):
        server.relays.admit(public_key(501), registration(server, vantage_points=points[::-1]), SOURCE)
    bad = (VantagePoint(points[0].public_key, 0), points[1])
    with pytest.raises(InvalidValue, match="UDP port"):
        server.relays.admit(public_key(501), registration(server, vantage_points=bad), SOURCE)


async def test_guessing_is_slow(server: Server) -> None:
    wrong = registration(server, proof="")
    for _ in range(PROOF_BURST):
        with pytest.raises(NotPermitted):
            server.relays.admit(public_key(501), wrong, SOURCE)
    with pytest.raises(RateLimited):
        server.relays.admit(public_key(501), registration(server), SOURCE)
    server.relays.admit(public_key(501), registration(server), IPv4Address("192.0.2.51"))


async def test_a_mesh_without_a_relay_key_takes_no_relays(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.relays, "_relay_key", lambda: None)
    with pytest.raises(NotPermitted, match="vpn-server relay-key"):
        server.relays.admit(public_key(501), registration(server), SOURCE)


async def test_a_silent_relay_leaves_the_map_and_one_that_beats_does_not(server: Server) -> None:
    await join(server, 1, "fra-1")
    await join(server, 2, "fra-2")
    counters = RelayCounters(sessions=4)
    for _ in range(int(SILENCE_SECONDS / SWEEP_SECONDS) + 1):
        server.time.pass_by(SWEEP_SECONDS)
        server.relays.heartbeat(public_key(502), RelayHeartbeat(counters=counters))
        await server.relays.sweep()
    assert [one.id for one in server.mesh.snapshot.relays] == ["fra-2"]
    assert server.relays.counters(RelayId("fra-2")) == counters
    assert server.relays.counters(FRA) is None
    with pytest.raises(NotFound, match="register again"):
        server.relays.heartbeat(public_key(501), RelayHeartbeat())


async def test_a_server_that_slept_drops_nobody(server: Server) -> None:
    await join(server)
    server.time.pass_by(10 * SILENCE_SECONDS)
    await server.relays.sweep()
    assert len(server.mesh.snapshot.relays) == 1


async def test_a_relay_goes_when_it_says_so(server: Server) -> None:
    await join(server)
    await server.relays.leave(public_key(501))
    assert server.mesh.snapshot.relays == ()
    with pytest.raises(NotFound):
        await server.relays.leave(public_key(501))


# --- what relays see ----------------------------------------------------------------------------------------------


def seen(text: str | None, vantage: int = 0, seed: int = 1, *, over_web: bool = False) -> Observation:
    endpoint = None if text is None else Endpoint.parse(text)
    return Observation(public_key=public_key(seed), vantage=vantage, endpoint=endpoint, over_web=over_web)


def peer(server: Server, seed: int = 1) -> Peer:
    return server.mesh.snapshot.record(public_key(seed)).peer


async def test_both_vantage_points_of_a_newcomer_are_one_change(server: Server) -> None:
    await server.join(1)
    await join(server)
    revision = server.mesh.snapshot.revision
    both = (seen("192.0.2.9:7", 0), seen("192.0.2.9:7", 1), seen("192.0.2.9:7", 1, seed=99))
    server.relays.heartbeat(public_key(501), RelayHeartbeat(observations=both))
    await until(lambda: peer(server).nat is NatClass.EASY)
    assert peer(server).reflexive == (Endpoint.parse("192.0.2.9:7"),)
    assert server.mesh.snapshot.revision == revision + 1
    server.relays.heartbeat(public_key(501), RelayHeartbeat(observations=both))
    await until(lambda: not server.relays._news and not server.relays._telling)
    assert server.mesh.snapshot.revision == revision + 1


async def test_what_is_seen_of_very_many_is_told_in_turns(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "TOLD_AT_ONCE", 2)
    await join(server)
    for number in range(1, 6):
        await server.join(number)
    revision = server.mesh.snapshot.revision
    for number in range(1, 6):
        server.relays.observed(FRA, seen(f"198.51.100.7:{number}", seed=number))
    await until(lambda: all(peer(server, number).reflexive for number in range(1, 6)))
    assert server.mesh.snapshot.revision - revision == 3


async def test_a_peer_that_says_its_address_anew_is_judged_anew(server: Server) -> None:
    await server.join(1)
    await join(server)
    server.relays.observed(FRA, seen("192.0.2.9:7"))
    await until(lambda: peer(server).reflexive != ())
    assert peer(server).nat is NatClass.UNKNOWN
    await server.signed(1, "POST", "/v1/heartbeat", {"endpoints": ["192.0.2.9:7"]})
    await until(lambda: peer(server).nat is NatClass.PUBLIC)


async def test_what_a_relay_that_is_gone_saw_counts_no_more(server: Server) -> None:
    await server.join(1)
    await join(server, 1, "fra-1")
    await join(server, 2, "fra-2")
    server.relays.observed(FRA, seen("192.0.2.9:7"))
    server.relays.observed(RelayId("fra-2"), seen("192.0.2.9:8"))
    await until(lambda: peer(server).nat is NatClass.HARD)
    await server.relays.leave(public_key(501))
    server.relays.observed(RelayId("fra-2"), seen("192.0.2.9:8", 1))
    await until(lambda: peer(server).nat is NatClass.EASY)


async def test_of_a_peer_that_left_nothing_is_kept(server: Server) -> None:
    await server.join(1)
    await join(server)
    server.relays.observed(FRA, seen(None, over_web=True))
    await until(lambda: peer(server).nat is NatClass.BLOCKED)
    assert public_key(1) in server.relays._view
    server.relays.observed(FRA, seen("192.0.2.9:7"))
    await server.signed(1, "DELETE", "/v1/peer")
    assert public_key(1) not in server.relays._view
    await until(lambda: not server.relays._news and not server.relays._telling)


# --- the server's own relay ---------------------------------------------------------------------------------------


@dataclass
class FakeOwn:
    relay: Relay
    is_able: bool = True
    is_up: bool = True
    counters = RelayCounters(routes=2)
    followed: Snapshot | None = None

    @property
    def id(self) -> RelayId:
        return self.relay.id

    def follow(self, snapshot: Snapshot) -> None:
        self.followed = snapshot


def own_relay(server: Server, name: str = OWN_RELAY) -> FakeOwn:
    own = FakeOwn(relay(9, name=name))
    standing: Any = own
    server.relays.own = standing
    return own


async def test_our_own_relay_is_in_the_map_as_long_as_it_can_run(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    old = relay(8, name=OWN_RELAY)
    await server.writer.submit(PutRelay(relay=old))
    own = own_relay(server)
    await server.relays.sweep()
    assert server.mesh.snapshot.relays == (own.relay,)
    assert own.followed is server.mesh.snapshot
    for _ in range(int(SILENCE_SECONDS / SWEEP_SECONDS) + 2):
        server.time.pass_by(SWEEP_SECONDS)
        await server.relays.sweep()
    assert server.mesh.snapshot.relays == (own.relay,)
    assert server.relays.counters(OWN_RELAY) == own.counters
    own.is_able = False
    await server.relays.sweep()
    assert list(server.mesh.snapshot.relays) == []
    assert "cannot be started" in caplog.text
    own.is_able = True
    await server.relays.sweep()
    assert server.mesh.snapshot.relays == (own.relay,)
    with pytest.raises(NotFound):
        await server.relays.leave(own.relay.public_key)


async def test_a_server_that_relays_no_more_takes_itself_from_the_map(server: Server) -> None:
    await server.writer.submit(PutRelay(relay=relay(9, name=OWN_RELAY)))
    await server.relays.sweep()
    assert server.mesh.snapshot.relays == ()


async def test_what_our_own_relay_sees_is_in_the_map(server: Server) -> None:
    await server.join(1)
    server.relays.own_observed(Observed(public_key(1), 0, Endpoint.parse("192.0.2.9:7")))
    own_relay(server)
    await server.relays.sweep()
    server.relays.own_observed(Observed(public_key(1), 0, Endpoint.parse("192.0.2.9:7")))
    await until(lambda: peer(server).reflexive == (Endpoint.parse("192.0.2.9:7"),))


async def test_what_cannot_be_written_is_said_once_and_tried_again(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_relay(server)

    async def fail(_command: object) -> None:
        raise Unavailable("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(server.writer, "submit", fail)
        await server.relays.sweep()
        await server.relays.sweep()
    assert caplog.text.count("the disk is gone") == 1
    await server.relays.sweep()
    assert server.mesh.snapshot.relays == (own.relay,)


async def test_a_name_that_is_taken_is_a_conflict(server: Server) -> None:
    await join(server, 1)
    with pytest.raises(Conflict, match="another relay fra-1"):
        await join(server, 2)


# --- several servers ----------------------------------------------------------------------------------------------


class SharedStore:
    """A store that others write to as well; each relay was heard so long ago by any of them."""

    shared = True

    def __init__(self, silences: dict[RelayId, float], term: int) -> None:
        self.silences = silences
        self.term = term
        self.saved: list[RelayId] = []

    async def save_relays_seen(self, names: Iterable[RelayId]) -> None:
        self.saved.extend(names)

    async def silent_relays(self) -> dict[RelayId, float]:
        return self.silences


@pytest.mark.parametrize(("term", "left"), [(0, ["fra-1", "fra-2"]), (1, ["fra-1"])])
async def test_only_one_server_drops_relays_that_none_has_heard(
    server: Server, monkeypatch: pytest.MonkeyPatch, term: int, left: list[str]
) -> None:
    await join(server, 1, "fra-1")
    await join(server, 2, "fra-2")
    shared: Any = SharedStore({FRA: 2.0, RelayId("fra-2"): 2 * SILENCE_SECONDS}, term)
    monkeypatch.setattr(server.relays, "_store", shared)
    for _ in range(int(SILENCE_SECONDS / SWEEP_SECONDS) + 2):
        server.time.pass_by(SWEEP_SECONDS)
        await server.relays.sweep()
    assert [one.id for one in server.mesh.snapshot.relays] == left
    assert set(shared.saved) == {"fra-1", "fra-2"}  # once each: they were heard here when they joined
    assert len(shared.saved) == 2


async def test_who_becomes_the_one_that_looks_gives_all_relays_their_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await join(server)
    shared: Any = SharedStore({FRA: 2 * SILENCE_SECONDS}, 0)
    monkeypatch.setattr(server.relays, "_store", shared)
    for term in (0, 0, 0, 0, 0, 0, 0, 0, 5):
        shared.term = term
        server.time.pass_by(SWEEP_SECONDS)
        await server.relays.sweep()
    assert len(server.mesh.snapshot.relays) == 1

"""Which relay a server is, on which ports, and what it is told."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from tests.core.samples import empty, public_key, register
from wireguard_mesh.core.commands import Command, Leave
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import Conflict, InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.relay.control import Setup, Stats
from wireguard_mesh.server import own_relay
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.config import Settings, load_settings
from wireguard_mesh.server.listening import ListenAddress
from wireguard_mesh.server.own_relay import UNABLE_SECONDS, OwnRelay, Place, find_place, resolve
from wireguard_mesh.store.location import parse_location


@dataclass
class FakeSupervisor:
    """In place of a process: what it was told."""

    sockets: Any
    setup: Setup
    on_observed: Any
    on_stats: Any
    is_ready: bool = False
    told: list[tuple[set[PublicKey], set[PublicKey], bool]] = field(default_factory=list)

    def roster(self, add: Iterable[PublicKey] = (), remove: Iterable[PublicKey] = (), *, whole: bool = False) -> None:
        self.told.append((set(add), set(remove), whole))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"config": str(tmp_path / "server.json"), "listen": "127.0.0.1:0"}, {})


@pytest.fixture
def free() -> Iterator[int]:
    """A TCP port whose number and next one are free on UDP, as good as certainly."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def found(settings: Settings, port: int) -> Place:
    place = find_place(settings, port)
    assert place is not None
    return place


def test_a_server_relays_on_the_number_of_its_http_port_and_the_next(settings: Settings, free: int) -> None:
    fixed = replace(settings, listen=ListenAddress("127.0.0.1", free))
    with closing(found(fixed, free)) as place:
        assert place.ports == (free, free + 1)
        relay = place.relay
        assert (relay.id, relay.ipv4, relay.ipv6, relay.web) == (OWN_RELAY, None, None, True)
        assert relay.public_key == settings.private_key.public_key
        assert relay.vantage_points[1].public_key == place.keys[1].public_key != relay.public_key
        assert place.folder == settings.file.parent
        with pytest.raises(Conflict, match=rf"UDP port {free} is in use.*-listen.*-udp off"):
            find_place(fixed, free)


def test_with_any_port_any_two_will_do(settings: Settings, free: int) -> None:
    with closing(found(settings, free)) as first, closing(found(settings, free)) as second:
        assert first.ports == (free, free + 1)
        assert second.ports[1] == second.ports[0] + 1
        assert not set(first.ports) & set(second.ports)


def test_where_no_two_ports_are_free_it_is_said(settings: Settings, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(_host: str, port: int) -> Any:
        raise Conflict(f"UDP port {port} is in use")

    monkeypatch.setattr(own_relay, "bind_vantages", taken)
    with pytest.raises(Conflict, match="no two neighbouring"):
        find_place(settings, free)


def test_a_host_that_is_not_ours_keeps_its_own_hint(settings: Settings) -> None:
    with pytest.raises(InvalidValue, match="-udp off"):
        find_place(replace(settings, listen=ListenAddress("192.0.2.1", 8080)), 8080)


def test_without_udp_there_is_no_relay(settings: Settings) -> None:
    assert find_place(replace(settings, udp=False), 1) is None


def test_of_several_servers_each_is_a_relay_of_its_own_where_it_says(
    settings: Settings, free: int, caplog: pytest.LogCaptureFixture
) -> None:
    shared = replace(settings, database=parse_location("postgresql://somebody@192.0.2.1/mesh"))
    assert find_place(shared, free) is None
    assert "-relay-address" in caplog.text
    with closing(found(replace(shared, relay_address="127.0.0.1"), free)) as one:
        assert one.relay.id == f"server-127.0.0.1-{free}"
        assert one.relay.ipv4 == IPv4Address("127.0.0.1")
        assert one.folder == settings.file.parent
        long = replace(shared, relay_address="127.0.0.1", listen=ListenAddress("127.0.0.1", 0))
        assert own_relay.name_of("a" * 70, 1) == own_relay.name_of("a" * 70, 1) != own_relay.name_of("a" * 71, 1)
        assert own_relay.name_of("with_underscore.example.com", 1).startswith("server-")
        with closing(found(replace(long, relay_address="::1"), free)) as other:
            assert other.relay.id.startswith("server---1-")
            keys = {key.public_key for key in (*one.keys, *other.keys)}
            assert len(keys | {settings.private_key.public_key}) == 5


def test_a_server_behind_a_proxy_relays_everywhere(settings: Settings, free: int) -> None:
    with closing(found(replace(settings, relay_address="192.0.2.1"), free)) as place:
        assert place.sockets[0][0].getsockname()[0] in {"::", "0.0.0.0"}
        assert place.relay.ipv4 == IPv4Address("192.0.2.1")
    named = replace(settings, relay_address="192.0.2.1", listen=ListenAddress("localhost", 0))
    with closing(found(named, free)) as place:
        assert place.sockets[0][0].getsockname()[0] in {"::", "0.0.0.0"}


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"])
def test_an_address_that_is_none_of_one_machine_is_offered_to_nobody(
    settings: Settings, free: int, address: str
) -> None:
    with pytest.raises(InvalidValue, match=f"-relay-address: {address} is no address"):
        find_place(replace(settings, relay_address=address), free)


def test_names_are_resolved() -> None:
    assert resolve("192.0.2.1") == (IPv4Address("192.0.2.1"), None)
    assert resolve("2001:db8::1") == (None, IPv6Address("2001:db8::1"))
    with pytest.raises(InvalidValue, match=r"no-such-host\.invalid has no address"):
        resolve("no-such-host.invalid")


# --- the process --------------------------------------------------------------------------------------------------


class Time:
    now = 100.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now)


@dataclass
class Running:
    own: OwnRelay
    supervisor: FakeSupervisor
    time: Time
    snapshot: Snapshot

    def change(self, *commands: Command) -> None:
        self.snapshot = decide(self.snapshot, commands, 0.0).snapshot
        self.own.follow(self.snapshot)


@pytest.fixture
def running(settings: Settings, free: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(own_relay, "RelaySupervisor", FakeSupervisor)
    snapshot = decide(empty(), [register(1), register(2)], 0.0).snapshot
    time = Time()
    with closing(found(settings, free)) as place:
        own = OwnRelay(place, snapshot, time.clock(), lambda _seen: None)
        supervisor: Any = own._supervisor
        yield Running(own, supervisor, time, snapshot)


def test_it_is_told_of_all_and_then_of_what_changed(running: Running) -> None:
    assert running.supervisor.setup.vantages == running.own.place.keys
    assert running.supervisor.told.pop() == ({public_key(1), public_key(2)}, set(), True)
    running.change(register(1, hostname="renamed"))
    assert running.supervisor.told == []
    running.change(register(3), Leave(public_key=public_key(1), signed=True))
    assert running.supervisor.told.pop() == ({public_key(3)}, {public_key(1)}, False)
    running.change(Leave(public_key=public_key(3), signed=True), register(3))
    assert running.supervisor.told == []
    running.own.follow(replace(running.snapshot, epoch="another"))
    assert running.supervisor.told.pop() == ({public_key(2), public_key(3)}, set(), True)


def test_one_that_is_back_soon_stays_offered_and_one_that_never_starts_does_not(running: Running) -> None:
    assert (running.own.is_up, running.own.is_able) == (False, True)
    running.time.now += UNABLE_SECONDS + 1
    assert not running.own.is_able
    running.supervisor.is_ready = True
    assert (running.own.is_up, running.own.is_able) == (True, True)
    running.supervisor.is_ready = False
    running.time.now += 1
    assert running.own.is_able


async def test_a_fault_in_looking_after_it_ends_nothing_else(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(running.supervisor, "run", fail, raising=False)
    await running.own.run()
    assert "looked after no more" in caplog.text


def test_it_tells_how_it_does(running: Running) -> None:
    running.supervisor.on_stats(Stats(sessions=3, forwarded_bytes=9))
    assert (running.own.counters.sessions, running.own.counters.forwarded_bytes) == (3, 9)

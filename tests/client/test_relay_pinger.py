"""Pings over loopback to something that answers as a relay does, or not."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from tests.client.conftest import Faulty, until
from tests.samples import private_key, public_key
from wireguard_mesh.client import clock
from wireguard_mesh.client.relay_pinger import RelayPinger
from wireguard_mesh.core.relay_choice import RelayChoice, VantageReport
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.relays import Relay, RelayId, VantagePoint
from wireguard_mesh.protocol.pings import Ping, PingKeys, Pong

RELAY_KEY = private_key(500)
KEYS = PingKeys(private_key(1).exchange(RELAY_KEY.public_key))
OBSERVED = Endpoint.parse("198.51.100.7:4000")
ID = RelayId("r1")


class Answering(asyncio.DatagramProtocol):
    """Vantage point 0 of a relay."""

    def __init__(self) -> None:
        self.pings: list[Ping] = []
        self.sources: list[tuple[str, int]] = []
        self.before: list[bytes] = []  # sent before the answer
        self.is_deaf = False
        self.keys = KEYS
        self.transport: asyncio.DatagramTransport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert Ping.is_signed(data, KEYS)
        ping = Ping.parse(data)
        self.pings.append(ping)
        self.sources.append(addr)
        if not self.is_deaf:
            for datagram in (*self.before, Pong(ping.microseconds, OBSERVED).build(self.keys)):
                self.transport.sendto(datagram, addr)

    @property
    def relay(self) -> Relay:
        port = self.transport.get_extra_info("sockname")[1]
        return Relay(id=ID, vantage_points=(VantagePoint(RELAY_KEY.public_key, port),), ipv4=IPv4Address("127.0.0.1"))


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Answering, local_addr=("127.0.0.1", 0))
    protocol.transport = transport
    yield protocol
    transport.close()


class Pinging:
    """A pinger that runs, and what it found."""

    def __init__(self, offset: float = 0.0, mark: int = 0) -> None:
        self.relays = RelayChoice()
        self.news = 0
        self.offset = offset
        self.pinger = RelayPinger(
            self.relays, private_key(1), clock.now, offset=lambda: self.offset, on_news=self._count, mark=mark
        )

    def _count(self) -> None:
        self.news += 1

    @property
    def report(self) -> VantageReport:
        return self.relays.report(clock.now())[0]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.pinger.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def need(self, answering: Answering) -> None:
        self.relays.follow((answering.relay,), (), ())
        self.relays.need({ID})
        self.pinger.wake()


async def test_measures_a_relay_that_is_needed(answering: Answering) -> None:
    one = Pinging()
    async with one.running():
        one.need(answering)
        await until(lambda: one.report.seconds is not None)
    assert one.report.mapped == OBSERVED
    assert 0 < (one.report.seconds or 0) < 1
    assert answering.pings[0].public_key == public_key(1).raw
    assert one.news == 1


async def test_what_no_relay_of_ours_said_is_nothing(answering: Answering) -> None:
    wrong = PingKeys(bytes(32))
    answering.before = [b"", b"x" * 2000, bytes(46), Pong(7, OBSERVED).build(KEYS)]
    answering.keys = wrong
    one = Pinging()
    async with one.running():
        one.need(answering)
        await until(lambda: len(answering.pings) > 1)
        assert one.report.seconds is None
        answering.keys = KEYS
        await until(lambda: one.report.seconds is not None)


async def test_a_pong_that_names_no_address_is_not_of_udp(answering: Answering) -> None:
    one = Pinging()
    async with one.running():
        one.need(answering)
        await until(lambda: len(answering.pings) > 0)
        answering.transport.sendto(Pong(answering.pings[0].microseconds, None).build(KEYS), answering.sources[0])
        await until(lambda: one.report.seconds is not None)


async def test_times_grow_though_clocks_do_not(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Pinging(offset=-1000.0)
    monkeypatch.setattr("wireguard_mesh.client.relay_pinger._MICRO", 0)
    async with one.running():
        one.need(answering)
        await until(lambda: len(answering.pings) > 1)
    first, second = answering.pings[:2]
    assert second.microseconds == first.microseconds + 1


async def test_a_clock_that_was_a_day_ahead_for_a_moment_spoils_nothing(answering: Answering) -> None:
    one = Pinging(offset=86_400.0)  # right until somebody sets this machine's clock, which is told by the next answer
    async with one.running():
        one.need(answering)
        await until(lambda: len(answering.pings) > 0)
        one.offset = 0.0
        await until(lambda: len(answering.pings) > 1)
    assert abs(answering.pings[1].microseconds / 1_000_000 - time.time()) < 60


async def test_asks_by_the_relays_clock(answering: Answering) -> None:
    one = Pinging(offset=3600.0)
    async with one.running():
        one.need(answering)
        await until(lambda: len(answering.pings) > 0)
    assert abs(answering.pings[0].microseconds / 1e6 - clock.now().wall - 3600) < 60


async def test_one_that_does_not_answer_is_dead_before_long(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.relay_pinger.ANSWER_TIME", 0.01)
    monkeypatch.setattr("wireguard_mesh.core.relay_pings.NEEDED_GAP", 0.02)
    monkeypatch.setattr("wireguard_mesh.core.relay_pings.LONGEST_GAP", 0.02)
    answering.is_deaf = True
    one = Pinging()
    async with one.running():
        one.need(answering)
        await until(lambda: one.news >= 3)
        answering.is_deaf = False
        await until(lambda: one.report.seconds is not None)


async def test_where_nothing_is_needed_there_is_no_socket(answering: Answering) -> None:
    one = Pinging()
    async with one.running():
        one.need(answering)
        await until(lambda: one.report.seconds is not None)
        one.relays.need(())
        one.pinger.wake()
        await until(lambda: not one.pinger.sockets)


async def test_an_address_without_a_route_counts_as_no_answer(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.relay_pinger.ANSWER_TIME", 0.01)

    def refuse(*_: object) -> None:
        raise OSError(101, "unreachable")

    one = Pinging()
    monkeypatch.setattr(one.pinger, "_socket", refuse)
    async with one.running():
        one.need(answering)
        await until(lambda: one.news > 0)
    assert one.report.seconds is None


async def test_a_fault_of_ours_ends_nothing(
    answering: Answering, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = Pinging()
    monkeypatch.setattr("wireguard_mesh.client.relay_pinger.MAX_ASLEEP", 0.01)
    fault = Faulty()
    with monkeypatch.context() as patched:
        patched.setattr(one.relays, "pings", fault)
        async with one.running():
            await until(lambda: fault.times > 2)
    assert caplog.text.count("relays cannot be pinged") == 1
    async with one.running():
        one.need(answering)
        await until(lambda: one.report.seconds is not None)


async def test_marks_its_packets_if_it_may(answering: Answering) -> None:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)
    except PermissionError:
        pytest.skip("no privilege to mark packets")
    one = Pinging(mark=7)
    async with one.running():
        one.need(answering)
        await until(lambda: one.report.seconds is not None)
        assert [made.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) for made in one.pinger.sockets] == [7]

"""A carrier between a UDP socket, as WireGuard has one, and a WebSocket."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from websockets.frames import Frame, Opcode

from tests.client.conftest import DEADLINE, running, until
from tests.client.web_relay import WebRelay
from tests.samples import private_key, public_key
from wireguard_mesh.client.carrier import Carrier
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.protocol.carrying import TARGET, pack


@pytest.fixture
def wireguard() -> Iterator[socket.socket]:
    """In place of WireGuard's socket."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind(("0.0.0.0", 0))
    yield made
    made.close()


class Carrying:
    """A carrier that runs, and what it said."""

    def __init__(self, web: WebRelay, wireguard: socket.socket) -> None:
        self.changes: list[Endpoint | None] = []
        self.seconds: list[float | None] = []
        self.control = Control(HttpClient(Dialer(web.address)), private_key(1), public_key(2), lambda: time.time())
        self.carrier = Carrier(self.control, wireguard.getsockname()[1], self._changed)

    def _changed(self, local: Endpoint | None, seconds: float | None) -> None:
        self.changes.append(local)
        self.seconds.append(seconds)

    @property
    def local(self) -> tuple[str, int]:
        where = self.changes[-1]
        assert where is not None
        return str(where.address), where.port

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        return running(self.carrier.run())

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        async with self.running():
            await until(lambda: self.changes != [])
            yield


async def received(wireguard: socket.socket, count: int) -> list[bytes]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE):
        return [await loop.sock_recv(wireguard, 65536) for _ in range(count)]


async def test_datagrams_go_both_ways(web: WebRelay, wireguard: socket.socket) -> None:
    one = Carrying(web, wireguard)
    async with one.up():
        for datagram in (b"one", b"", b"three"):
            wireguard.sendto(datagram, one.local)
        await until(lambda: len(web.datagrams) == 3)
        assert web.datagrams == [b"one", b"", b"three"]
        await web.send(pack([b"four", b"five"]))
        assert await received(wireguard, 2) == [b"four", b"five"]
    assert web.requests[0].path == TARGET
    assert "signature" in web.requests[0].headers
    assert one.seconds[0] is not None
    assert one.changes[-1] is None


async def test_what_comes_together_goes_in_one_message(web: WebRelay, wireguard: socket.socket) -> None:
    one = Carrying(web, wireguard)
    async with one.up():
        for number in range(50):
            wireguard.sendto(bytes([number]) * 1000, one.local)
        await until(lambda: len(web.datagrams) == 50)
    assert len(web.messages) == 1


async def test_nobody_else_on_this_machine_can_send_into_it(web: WebRelay, wireguard: socket.socket) -> None:
    one = Carrying(web, wireguard)
    async with one.up():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"forged", one.local)
        wireguard.sendto(b"true", one.local)
        await until(lambda: web.datagrams != [])
        assert web.datagrams == [b"true"]


async def test_connects_anew_and_keeps_its_port(
    web: WebRelay, wireguard: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = Carrying(web, wireguard)
    async with one.up():
        await web.connections[0].close(1001)
        await until(lambda: len(one.changes) == 3)
        wireguard.sendto(b"again", one.local)
        await until(lambda: web.datagrams == [b"again"])
    assert one.changes[1] is None
    assert one.changes[0] == one.changes[2]
    assert caplog.text.count("trying again: the other end ended it with code 1001") == 1


async def test_a_fault_is_said_once(
    web: WebRelay, wireguard: socket.socket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.carrier.RETRY", Backoff(first=0.0, longest=0.0))
    refusal = (503, b'{"error": "full", "code": "unavailable"}', {"content-type": "application/json"})
    web.refusals = [refusal] * 3
    one = Carrying(web, wireguard)
    async with one.up():
        assert len(web.requests) == 4
    assert caplog.text.count("full") == 1


async def test_signs_by_the_servers_clock_if_it_must(web: WebRelay, wireguard: socket.socket) -> None:
    refusal = (401, b'{"error": "your clock", "code": "clock_skew"}', {"date": "Sun, 22 Nov 2099 00:00:00 GMT"})
    web.refusals = [refusal]
    one = Carrying(web, wireguard)
    async with one.up():
        assert len(web.requests) == 2
    assert one.control.clock_offset > 1e9


async def test_another_network_means_another_connection(web: WebRelay, wireguard: socket.socket) -> None:
    one = Carrying(web, wireguard)
    async with one.up():
        one.carrier.network_changed()
        await until(lambda: len(one.changes) == 3)
        assert len(web.connections) == 2


async def test_a_change_of_the_network_ends_the_wait_for_the_next_try(
    web: WebRelay, wireguard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.carrier.RETRY", Backoff(first=3600.0, longest=3600.0))
    web.refusals = [(503, b"{}", {})]
    one = Carrying(web, wireguard)
    async with one.running():
        await until(lambda: len(web.requests) == 1)

        def is_up() -> bool:
            one.carrier.network_changed()
            return one.changes != []

        await until(is_up)


async def test_a_silent_connection_is_asked_and_kept(
    web: WebRelay, wireguard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.carrier.PING_AFTER", 0.01)
    one = Carrying(web, wireguard)
    async with one.up():
        await asyncio.sleep(0.2)
        assert one.changes[-1] is not None
        assert len(web.connections) == 1


async def test_a_dead_connection_is_found_out(
    web: WebRelay, wireguard: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.carrier.PING_AFTER", 0.02)
    monkeypatch.setattr("wireguard_mesh.client.carrier.DEAD_AFTER", 0.02)
    one = Carrying(web, wireguard)
    async with one.up():
        web.connections[0].transport.pause_reading()
        await until(lambda: "trying again" in caplog.text)
    assert "does not answer any more" in caplog.text


async def test_what_cannot_go_out_is_dropped_and_what_can_goes_on(web: WebRelay, wireguard: socket.socket) -> None:
    one = Carrying(web, wireguard)
    sent = 20_000  # more than all buffers on the way hold
    async with one.up():
        web.connections[0].transport.pause_reading()
        for _ in range(sent // 100):
            for _ in range(100):
                with contextlib.suppress(BlockingIOError):
                    wireguard.sendto(bytes(1400), one.local)
            await asyncio.sleep(0)
        web.connections[0].transport.resume_reading()

        def arrived() -> bool:
            wireguard.sendto(b"later", one.local)
            return b"later" in web.datagrams[-100:]

        await until(arrived)
    assert 0 < len(web.datagrams) < sent


async def test_a_connection_that_ends_while_it_is_full_leaves_nothing(
    web: WebRelay, wireguard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.web_socket.MAX_BACKLOG", 0)
    one = Carrying(web, wireguard)
    async with one.up():
        web.connections[0].transport.pause_reading()
        for _ in range(50):
            with contextlib.suppress(BlockingIOError):
                for _ in range(100):
                    wireguard.sendto(bytes(1400), one.local)
            await asyncio.sleep(0)
        one.carrier.network_changed()
        await until(lambda: len(one.changes) == 3)
        wireguard.sendto(b"again", one.local)
        await until(lambda: web.datagrams[-1:] == [b"again"])


async def test_messages_in_pieces_are_put_together(web: WebRelay, wireguard: socket.socket) -> None:
    one = Carrying(web, wireguard)
    async with one.up():
        message = pack([b"one", b"two"])
        await web.send([message[:1], message[1:6], message[6:]])
        assert await received(wireguard, 2) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Frame(Opcode.BINARY, b"\0\5x"), "cannot be understood"),
        (Frame(Opcode.CONT, b"x"), "since it cannot be understood"),
        (Frame(Opcode.BINARY, bytes(300_000)), "since it cannot be understood"),
    ],
)
async def test_nonsense_ends_a_connection(
    web: WebRelay, wireguard: socket.socket, caplog: pytest.LogCaptureFixture, frame: Frame, words: str
) -> None:
    one = Carrying(web, wireguard)
    async with one.up():
        web.connections[0].transport.write(frame.serialize(mask=False))
        await until(lambda: len(one.changes) == 3)
    assert words in caplog.text


async def test_a_wireguard_that_is_not_there_harms_nothing(web: WebRelay, wireguard: socket.socket) -> None:
    one = Carrying(web, wireguard)
    wireguard.close()
    async with one.up():
        await web.send(pack([b"one"] * 10))
        await web.send(pack([b"two"] * 10))
        await web.connections[0].ping()
        assert one.changes[-1] is not None

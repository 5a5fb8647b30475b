"""WebSockets that carry datagrams."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from tests.samples import public_key
from tests.waiting import PATIENCE, until
from wireguard_mesh.core.sources import WebSource
from wireguard_mesh.protocol import carrying
from wireguard_mesh.relay import carriers
from wireguard_mesh.relay.carriers import Carriers

KEY = public_key(1)


@dataclass
class Relay:
    """Where carriers end."""

    most: int = 10
    came: list[tuple[WebSource, bytes]] = field(default_factory=list)
    ended: list[WebSource] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.carriers = Carriers(
            self.most, lambda source, datagram: self.came.append((source, datagram)), self.ended.append
        )

    async def client(self, key: int = 1, early: bytes = b"") -> Client:
        ours, theirs = socket.socketpair()
        self.carriers.adopt(theirs, public_key(key), early)
        reader, writer = await asyncio.open_connection(sock=ours)
        return Client(reader, writer)


@dataclass
class Client:
    """The other end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: Protocol = field(default_factory=lambda: Protocol(Side.CLIENT, state=State.OPEN))
    frames: list[Frame] = field(default_factory=list)

    async def flush(self) -> None:
        for data in self.protocol.data_to_send():
            self.writer.write(data)
        with suppress(ConnectionError):  # the other end may be gone already
            await self.writer.drain()

    async def send(self, *datagrams: bytes) -> None:
        self.protocol.send_binary(carrying.pack(datagrams))
        await self.flush()

    async def frame(self) -> Frame:
        """The next one."""
        async with asyncio.timeout(PATIENCE):
            while not self.frames:
                data = await self.reader.read(65536)
                if data:
                    self.protocol.receive_data(data)
                else:
                    self.protocol.receive_eof()
                for event in self.protocol.events_received():
                    assert isinstance(event, Frame)
                    self.frames.append(event)
                await self.flush()
                assert data or self.frames, "it ended"
        return self.frames.pop(0)

    async def closing(self) -> int:
        """The code with which the other end closes."""
        frame = await self.frame()
        assert frame.opcode is Opcode.CLOSE
        self.writer.close()
        return int.from_bytes(frame.data[:2], "big")

    async def gone(self) -> None:
        """Wait until nothing more comes."""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while await self.reader.read(65536):
                    pass
        self.writer.close()


async def test_datagrams_go_both_ways() -> None:
    relay = Relay()
    client = await relay.client()
    await client.send(b"one", b"two")
    await until(lambda: len(relay.came) == 2)
    source = WebSource(1, KEY)
    assert relay.came == [(source, b"one"), (source, b"two")]
    for datagram in (b"a", b"b" * 1400, b"c"):
        relay.carriers.send(source, datagram)
    frame = await client.frame()
    assert carrying.unpack(bytes(frame.data)) == [b"a", b"b" * 1400, b"c"], "in one message"
    client.writer.close()
    await until(lambda: relay.ended)
    assert relay.ended == [source]
    assert len(relay.carriers) == 0
    relay.carriers.send(source, b"nobody")


async def test_what_was_read_behind_the_request_counts() -> None:
    relay = Relay()
    protocol = Protocol(Side.CLIENT, state=State.OPEN)
    protocol.send_binary(carrying.pack([b"early"]))
    client = await relay.client(early=b"".join(protocol.data_to_send()))
    await until(lambda: relay.came)
    assert relay.came[0][1] == b"early"
    client.writer.close()
    await until(lambda: relay.ended)


async def test_a_message_may_come_in_fragments() -> None:
    relay = Relay()
    client = await relay.client()
    message = carrying.pack([b"x" * 100, b"y"])
    client.protocol.send_binary(message[:50], fin=False)
    client.protocol.send_continuation(message[50:60], fin=False)
    client.protocol.send_continuation(message[60:], fin=True)
    await client.flush()
    await until(lambda: len(relay.came) == 2)
    assert [datagram for _, datagram in relay.came] == [b"x" * 100, b"y"]
    client.writer.close()
    await until(lambda: relay.ended)


async def test_many_tiny_things_are_taken_in_turns() -> None:
    relay = Relay()
    client = await relay.client()
    source, total = WebSource(1, KEY), 3 * carriers.THINGS_A_TURN + 10
    at_once: list[int] = []
    loop = asyncio.get_running_loop()

    def look(before: int) -> None:
        at_once.append(len(relay.came) - before)
        loop.call_soon(look, len(relay.came))

    look(0)
    await client.send(*[b""] * total)
    await client.send(b"last")
    await until(lambda: len(relay.came) == total + 1)
    assert relay.came == [(source, b"")] * total + [(source, b"last")]
    assert max(at_once) == carriers.THINGS_A_TURN
    ping = Frame(Opcode.PING, b"").serialize(mask=True)
    client.writer.write(ping * 50_000)
    await client.send(b"still here")
    await until(lambda: relay.came[-1][1] == b"still here")
    client.writer.close()
    await until(lambda: relay.ended)


async def test_fragments_without_end_are_no_burden() -> None:
    relay = Relay()
    client = await relay.client()
    client.protocol.send_binary(b"", fin=False)
    await client.flush()
    fragment = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
    tracemalloc.start()
    try:
        for _ in range(10):
            client.writer.write(fragment * 10_000)
            await client.writer.drain()
        client.protocol.send_continuation(carrying.pack([b"x"]), fin=True)
        await client.flush()
        await until(lambda: relay.came)
        assert tracemalloc.get_traced_memory()[0] < 400_000, "four bytes of each"
    finally:
        tracemalloc.stop()
    client.writer.close()
    await until(lambda: relay.ended)


async def test_who_asks_for_pongs_and_reads_none_is_shut() -> None:
    relay = Relay()
    client = await relay.client()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as asyncio's transports can
    ping = Frame(Opcode.PING, bytes(125)).serialize(mask=True)
    with suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            while not relay.ended:
                client.writer.write(ping * 100)
                await client.writer.drain()
                await asyncio.sleep(0)
    assert relay.ended
    client.writer.transport.abort()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(Opcode.TEXT, b"hello"), CloseCode.UNSUPPORTED_DATA),
        (Frame(Opcode.BINARY, b"\0\5abc"), CloseCode.INVALID_DATA),
        (Frame(Opcode.BINARY, bytes(carrying.MAX_MESSAGE + 1)), CloseCode.MESSAGE_TOO_BIG),
        (Frame(Opcode.CONT, b"?"), CloseCode.PROTOCOL_ERROR),
    ],
)
async def test_what_is_no_message_ends_it(frame: Frame, code: CloseCode) -> None:
    relay = Relay()
    client = await relay.client()
    client.writer.write(frame.serialize(mask=True))
    assert await client.closing() == code
    await until(lambda: relay.ended)
    assert relay.came == []


async def test_a_reader_that_is_slow_gets_the_newest() -> None:
    relay = Relay()
    client = await relay.client()
    await client.send(b"here")
    await until(lambda: relay.came)
    source = relay.came[0][0]
    total = 4000
    for number in range(total):
        relay.carriers.send(source, number.to_bytes(4, "big") * 350)
        if number % 10 == 0:
            await asyncio.sleep(0)
    assert 0 < relay.carriers.dropped < total
    got: list[int] = []
    while not got or got[-1] != total - 1:
        frame = await client.frame()
        got += [int.from_bytes(datagram[:4], "big") for datagram in carrying.unpack(bytes(frame.data))]
    assert got == sorted(got)
    assert len(got) == total - relay.carriers.dropped
    client.writer.close()
    await until(lambda: relay.ended)
    assert relay.carriers.dropped == total - len(got), "what is over counts"


async def test_who_comes_again_takes_the_place_of_the_former() -> None:
    relay = Relay()
    former = await relay.client()
    newer = await relay.client()
    assert await former.closing() == CloseCode.GOING_AWAY
    await until(lambda: relay.ended)
    assert relay.ended == [WebSource(1, KEY)]
    other = await relay.client(2)
    assert len(relay.carriers) == 2
    relay.carriers.close()
    assert await newer.closing() == CloseCode.GOING_AWAY
    assert await other.closing() == CloseCode.GOING_AWAY
    await until(lambda: not len(relay.carriers))


async def test_there_are_no_more_than_allowed() -> None:
    relay = Relay(most=1)
    first = await relay.client(1)
    second = await relay.client(2)
    await second.gone()
    assert len(relay.carriers) == 1
    first.writer.close()
    await until(lambda: relay.ended)


async def test_it_pings_and_gives_up_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers, "PING_SECONDS", 0.0)
    relay = Relay()
    client = await relay.client()
    await client.send(b"here")
    await until(lambda: relay.came)
    relay.carriers.tick()
    assert (await client.frame()).opcode is Opcode.PING
    assert not relay.ended
    monkeypatch.setattr(carriers, "SILENCE_SECONDS", -1.0)
    relay.carriers.tick()
    await client.gone()
    await until(lambda: relay.ended)
    relay.carriers.tick()


async def test_a_connection_that_is_gone_already_ends_at_once() -> None:
    relay = Relay()
    ours, theirs = socket.socketpair()
    relay.carriers.adopt(theirs, KEY, b"")
    ours.close()
    await until(lambda: relay.ended)
    assert len(relay.carriers) == 0

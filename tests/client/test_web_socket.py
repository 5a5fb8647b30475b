"""One WebSocket of the agent, against a server that speaks as RFC 6455 says, and some that do not."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.frames import Frame, Opcode

from tests.client.conftest import DEADLINE, until
from tests.client.web_relay import WebRelay
from tests.samples import private_key, public_key
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.web_socket import (
    _TCP_NOTSENT_LOWAT,
    GIVE_UP,
    KEY_BYTES,
    MAX_BACKLOG,
    UNSENT,
    WebSocket,
    open_web_socket,
)
from wireguard_mesh.model.errors import MeshError, Unavailable
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.carrying import TARGET, pack

RFC_KEY = b"the sample nonce"  # RFC 6455, section 1.3
RFC_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MAX = 2000


def control(address: ServerAddress) -> Control:
    return Control(HttpClient(Dialer(address)), private_key(1), public_key(2), time.time)


@asynccontextmanager
async def opened(web: WebRelay, max_message: int = MAX) -> AsyncIterator[WebSocket]:
    async with open_web_socket(control(web.address), TARGET, os.urandom(KEY_BYTES), max_message) as made:
        yield made


async def received(web_socket: WebSocket) -> list[bytes]:
    """The next messages; what carries none is passed over."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if messages := await web_socket.receive():
                return messages


async def test_messages_go_both_ways(web: WebRelay) -> None:
    async with opened(web) as one:
        one.send(pack([b"there"]))
        await until(lambda: web.datagrams == [b"there"])
        await web.send(b"back")
        assert await received(one) == [b"back"]


async def test_a_message_in_pieces_is_one(web: WebRelay) -> None:
    async with opened(web) as one:
        await web.send([b"one ", b"and ", b"the same"])
        assert await received(one) == [b"one and the same"]


async def test_a_ping_is_answered(web: WebRelay) -> None:
    async with opened(web) as one:
        pong = await web.connections[0].ping()
        async with asyncio.timeout(DEADLINE):
            assert await one.receive() == []
            await pong


async def test_asking_ends_the_wait(web: WebRelay) -> None:
    async with opened(web) as one, asyncio.timeout(DEADLINE):
        one.ping()
        assert await one.receive() == [], "a pong is no message"


async def test_the_end_is_said_to_the_other(web: WebRelay) -> None:
    async with opened(web):
        pass
    await until(lambda: web.connections[0].close_code is not None)
    assert web.connections[0].close_code == 1000


async def test_nothing_is_sent_after_the_end(web: WebRelay) -> None:
    async with opened(web) as one:
        one.close()
        one.send(pack([b"late"]))
        one.ping()
        one.close()
        with pytest.raises(Unavailable, match="code 1000"):
            await received(one)
    await until(lambda: web.connections[0].close_code is not None)
    assert web.messages == []


@pytest.mark.parametrize("code", [1001, 1013])
async def test_why_the_other_end_ended_it_is_said(web: WebRelay, code: int) -> None:
    async with opened(web) as one:
        await web.connections[0].close(code)
        with pytest.raises(Unavailable, match=f"the other end ended it with code {code}"):
            await received(one)


async def test_a_message_that_is_too_long_ends_it(web: WebRelay) -> None:
    async with opened(web, max_message=10) as one:
        await web.send(bytes(11))
        with pytest.raises(Unavailable, match="since it cannot be understood"):
            await received(one)


async def test_a_connection_that_is_cut_is_said_to_be(web: WebRelay) -> None:
    async with opened(web) as one:
        web.connections[0].transport.abort()
        with pytest.raises(Unavailable, match=r"the connection (broke|was closed)"):
            await received(one)


async def test_a_refusal_is_the_servers_word(web: WebRelay) -> None:
    web.refusals = [(503, b'{"error": "full", "code": "unavailable"}', {"content-type": "application/json"})]
    with pytest.raises(MeshError, match="full"):
        async with opened(web):
            raise AssertionError("it was refused")


@asynccontextmanager
async def answering(accept: str) -> AsyncIterator[tuple[ServerAddress, list[bytes]]]:
    """Something that switches to whatever is asked, proves that with `accept`, and sends a frame at once."""
    asked: list[bytes] = []
    has_ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        lines = ("HTTP/1.1 101 Switching Protocols", "connection: upgrade", "upgrade: websocket")
        head = "\r\n".join([*lines, f"sec-websocket-accept: {accept}", "", ""])
        writer.write(head.encode() + Frame(Opcode.BINARY, b"at once").serialize(mask=False))
        await reader.read()
        writer.close()
        await writer.wait_closed()
        has_ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield ServerAddress("http", "127.0.0.1", server.sockets[0].getsockname()[1]), asked
        async with asyncio.timeout(DEADLINE):
            await has_ended.wait()


async def test_what_comes_with_the_answer_is_heard() -> None:
    async with (
        answering(RFC_ACCEPT) as (address, asked),
        open_web_socket(control(address), TARGET, RFC_KEY, MAX) as one,
    ):
        assert await received(one) == [b"at once"]
        assert b": dGhlIHNhbXBsZSBub25jZQ==\r\n" in asked[0]


@pytest.mark.parametrize("accept", ["", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="])
async def test_who_proves_nothing_speaks_no_web_socket(accept: str) -> None:
    async with answering(accept) as (address, _):
        with pytest.raises(Unavailable, match="speaks no WebSocket"):
            async with open_web_socket(control(address), TARGET, RFC_KEY, MAX):
                raise AssertionError("it proved nothing")


def fill(one: WebSocket) -> int:
    """Send until it is full; how many messages that took."""
    count = 0
    while not one.is_full:
        one.send(bytes(MAX_BACKLOG // 4))
        count += 1
    return count


async def test_it_is_full_until_what_waits_is_sent() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    one = WebSocket(reader, writer, b"", MAX)
    loop = asyncio.get_running_loop()
    sent = fill(one)
    drained = asyncio.create_task(one.drained())
    taken = 0
    async with asyncio.timeout(DEADLINE):
        while not drained.done():
            taken += len(await loop.sock_recv(theirs, MAX_BACKLOG))
    assert not one.is_full
    assert 0 < taken <= sent * (MAX_BACKLOG // 4 + 14), "RFC 6455: 14 bytes at most before a payload"
    theirs.close()
    writer.transport.abort()
    await one.drained()  # broken: nobody waits for it


async def test_the_kernel_keeps_little_and_gives_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        WebSocket(reader, writer, b"", MAX)
        connection = writer.get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT) == UNSENT
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GIVE_UP
        writer.close()
        await writer.wait_closed()

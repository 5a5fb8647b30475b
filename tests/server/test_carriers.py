"""A verified upgrade becomes a WebSocket of the relay's process; nothing else does. On real sockets."""

from __future__ import annotations

import asyncio

import pytest

from tests.core.samples import public_key
from tests.server.carrying import UPGRADE, opened, relaying, request
from tests.server.conftest import Server
from tests.waiting import until
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.server.carriers import OPENED_BURST, accept_of

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_answer_to_a_key_is_that_of_the_rfc() -> None:
    assert accept_of(UPGRADE) == ACCEPT


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"upgrade": "h2c"}, "over a WebSocket"),
        ({"connection": "close"}, "over a WebSocket"),
        ({"sec-websocket-version": "8"}, "version 13"),
        ({"sec-websocket-key": ""}, "no key"),
        ({"sec-websocket-key": "AAAA"}, "no key"),
        ({"sec-websocket-key": "é" * 24}, "no key"),
    ],
)
def test_what_is_no_opening_handshake_is_refused(changes: dict[str, str], what: str) -> None:
    with pytest.raises(InvalidValue, match=what):
        accept_of({**UPGRADE, **changes})


async def test_a_peer_s_connection_is_the_relay_s_from_then_on(server: Server) -> None:
    await server.join(1)
    async with relaying(server) as (served, own):
        reader, writer, head = await opened(served, request(server, 1))
        text = head.decode().lower()
        assert text.startswith("http/1.1 101 switching protocols\r\n")
        assert f"sec-websocket-accept: {ACCEPT.lower()}\r\n" in text
        assert f"mesh-relay: {OWN_RELAY}\r\n" in text
        await until(lambda: not served.http.server_state.connections)  # this process has it no more
        ((connection, data, key),) = own.given
        assert (data, key) == (b"", public_key(1))
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        writer.write(b"a frame")
        assert await loop.sock_recv(connection, 100) == b"a frame"
        await loop.sock_sendall(connection, b"another")
        assert await reader.readexactly(7) == b"another"
        writer.close()
        assert await loop.sock_recv(connection, 100) == b""


async def test_a_peer_opens_a_few_only(server: Server) -> None:
    await server.join(1)
    await server.join(2)
    async with relaying(server) as (served, own):
        for _ in range(OPENED_BURST):
            _, writer, head = await opened(served, request(server, 1))
            assert head.startswith(b"HTTP/1.1 101")
            writer.close()
        _, writer, head = await opened(served, request(server, 1))
        assert head.startswith(b"HTTP/1.1 429")
        writer.close()
        _, writer, head = await opened(served, request(server, 2))
        assert head.startswith(b"HTTP/1.1 101")
        writer.close()
        assert len(own.given) == OPENED_BURST + 1

"""What `test_http` does not reach of a connection: its ends, and what it says of itself."""

import asyncio
from ipaddress import ip_address

import h11
import pytest

from tests.client.conftest import Scripted, read_request, response
from wireguard_mesh.client.connection import Connection, Head
from wireguard_mesh.client.dial import Dialer

GET = h11.Request(method="GET", target="/", headers=[("host", "x")])
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def connected(scripted: Scripted, *parts: bytes) -> Connection:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
        await reader.read()

    scripted.talk = talk
    return Connection(*await Dialer(scripted.address).connect())


async def test_knows_from_where_it_goes(scripted: Scripted) -> None:
    connection = await connected(scripted)
    assert connection.source == ip_address("127.0.0.1")
    assert connection.is_open
    connection.close()
    assert not connection.is_open


async def test_chunks_that_came_together_are_read_together(scripted: Scripted) -> None:
    connection = await connected(scripted, CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n", b"0\r\n\r\n")
    assert await connection.ask(GET) == Head(200, {"transfer-encoding": "chunked"})
    assert await connection.some() == b"abcde"
    assert await connection.some() == b""
    assert await connection.some() == b""
    assert connection.finish()
    connection.close()


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(scripted: Scripted) -> None:
    connection = await connected(scripted, response("200 OK", b"x" * 100_000))
    await connection.ask(GET)
    with pytest.raises(h11.RemoteProtocolError, match="longer than 1000 bytes"):
        await connection.body(1000)
    assert not connection.finish()
    connection.close()

"""What is under way is answered before the end, and every answer is dated."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import pytest

from tests.server.serving import Served, serving
from wireguard_mesh.server.connections import WRITE_SECONDS, GuardedProtocol


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as one:
        yield one


async def test_what_a_dead_machine_does_not_acknowledge_ends_its_connection(served: Served) -> None:
    _, writer = await served.open()
    writer.write(b"GET /held HTTP/1.1\r\n\r\n")
    await served.held.wait()
    (accepted,) = served.http.server_state.connections
    assert isinstance(accepted, GuardedProtocol)
    with socket.socket(fileno=os.dup(accepted.transport.get_extra_info("socket").fileno())) as connection:
        timeout = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert timeout == WRITE_SECONDS * 1000
    writer.close()


async def test_every_answer_is_dated(served: Served) -> None:
    for _ in range(2):
        answer = await served.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        date = answer.split(b"date: ")[1].partition(b"\r\n")[0].decode()
        assert parsedate_to_datetime(date).tzinfo is not None


async def test_what_is_under_way_is_answered_before_the_end(served: Served) -> None:
    reader, writer = await served.open()
    writer.write(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
    await served.held.wait()
    served.http.stop()
    served.hold.set()
    assert (await reader.read()).endswith(b"ok")
    await served.done
    writer.close()

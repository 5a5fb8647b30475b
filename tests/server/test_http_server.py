"""What is under way is answered before the end, and every answer is dated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import pytest

from tests.server.serving import Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as one:
        yield one


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

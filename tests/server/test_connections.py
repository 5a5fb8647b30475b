"""Limits on what a stranger can hold open, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.server.serving import BIG, Served, serving
from tests.waiting import until
from wireguard_mesh.server import connections, shared


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as one:
        yield one


def head_and_body(answer: bytes) -> tuple[bytes, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, json.loads(body)


async def test_many_requests_share_a_connection_and_its_heads_are_counted_one_by_one(served: Served) -> None:
    reader, writer = await served.open()
    request = b"POST / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 9000 + b"\r\ncontent-length: 3\r\n\r\nabc"
    for _ in range(4):
        writer.write(request)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_an_error_of_ours(served: Served, data: bytes) -> None:
    head, body = head_and_body(await served.send(data))
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"date: " in head
    assert body["code"] == "bad_request"


async def test_headers_without_end_are_refused(served: Served) -> None:
    head, body = head_and_body(await served.send(b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000))
    assert head.startswith(b"HTTP/1.1 431")
    assert body["code"] == "too_large"


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_come_is_not_awaited(
    served: Served, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    assert await served.send(data) == b""


async def test_connections_are_bounded_and_an_idle_one_gives_way() -> None:
    async with serving(max_connections=1) as served:
        reader, writer = await served.open()
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"ok")
        second, other = await served.open()
        other.write(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        await served.held.wait()
        assert await reader.read() == b""  # the idle one
        third, another = await served.open()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await third.readexactly(1)
        served.hold.set()
        assert (await second.readuntil(b"ok")).startswith(ANSWERED)
        for each in (writer, other, another):
            each.close()


ANSWERED = b"HTTP/1.1 200"


async def closes(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection, by whatever means."""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            await reader.read()
    return True


async def test_a_body_that_does_not_come_holds_nothing_though_it_is_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_LIMIT_SECONDS", 0.2)
    reader, writer = await served.open()
    writer.write(b"GET /early HTTP/1.1\r\ncontent-length: 9\r\n\r\n")
    assert (await reader.readuntil(b"ok")).startswith(ANSWERED)
    writer.write(b"x")
    assert await closes(reader)
    writer.close()


async def test_what_is_no_request_does_not_keep_a_connection_alive(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.2)
    reader, writer = await served.open()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.readuntil(b"ok")).startswith(ANSWERED)
    writer.write(b"\r\n")
    assert await closes(reader)
    writer.close()


async def test_a_body_that_comes_late_after_its_answer_leaves_the_connection_alive(served: Served) -> None:
    reader, writer = await served.open()
    for _ in range(3):
        writer.write(b"POST /early HTTP/1.1\r\ncontent-length: 3\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(ANSWERED)
        writer.write(b"abc")
    writer.close()


@pytest.mark.parametrize("path", [b"/", b"/early"])
async def test_trailers_are_bounded(served: Served, path: bytes) -> None:
    reader, writer = await served.open()
    writer.write(b"POST " + path + b" HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 100_000)
    assert await closes(reader)
    writer.close()


async def test_a_long_head_is_refused_in_one_piece_too(served: Served) -> None:
    for line in (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 4000):
        head, body = head_and_body(await served.send(line + b"host: x\r\n\r\n"))
        assert head.startswith(b"HTTP/1.1 431")
        assert body["code"] == "too_large"


async def test_requests_that_wait_for_others_are_bounded(served: Served) -> None:
    request = b"GET / HTTP/1.1\r\n\r\n"
    assert (await served.send(request * 3 + b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")).count(ANSWERED) == 4
    assert b"bad_request" in await served.send(b"GET /held HTTP/1.1\r\n\r\n" + request * 100)


async def test_who_does_not_read_is_shut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(await served.send(b"GET /big HTTP/1.1\r\nconnection: close\r\n\r\n")) > BIG
    monkeypatch.setattr(connections, "WRITE_SECONDS", 0.2)
    reader, writer = await served.open()
    writer.write(b"GET /big HTTP/1.1\r\n\r\n")
    await reader.readexactly(1)
    await until(lambda: not served.http.server_state.connections)
    writer.close()


async def test_what_nobody_reads_is_bounded_and_the_oldest_goes_first(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "MAX_UNSENT", BIG * 3 // 2)
    held = []
    for _ in range(2):
        reader, writer = await served.open()
        writer.write(b"GET /big HTTP/1.1\r\n\r\n")
        await reader.readexactly(1)
        held.append((reader, writer))
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await held[0][0].readexactly(BIG)
    await held[1][0].readexactly(BIG)
    for _, writer in held:
        writer.close()


async def test_one_source_cannot_have_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "source_limited", lambda _client: "one")
    async with serving(per_source=1) as served:
        reader, writer = await served.open()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"ok")
        assert await served.send(b"") == b""
        writer.close()
        await until(lambda: not served.http.server_state.connections)
        assert (await served.send(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")).startswith(ANSWERED)

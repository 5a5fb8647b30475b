"""All who follow the map have it, however they read, come and go; on a real socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.core.samples import public_key, register
from tests.core.test_pushing import peers_of
from tests.server.conftest import Server
from tests.server.streaming import Reader, Streaming, streaming
from tests.waiting import until
from wireguard_mesh.core.pushing import reconnect_seconds
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import UpdateKind
from wireguard_mesh.server import pieces, streams
from wireguard_mesh.server.streams import STREAMS_PER_KEY
from wireguard_mesh.server.subscriber import Subscriber

MANY = 600  # records of a map that no small socket buffer holds


@pytest.fixture
async def served(server: Server) -> AsyncIterator[Streaming]:
    async with streaming(server) as one:
        yield one


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the streams a hundred times a second."""
    monkeypatch.setattr(streams, "_TICK_SECONDS", 0.01)


def subscribers(served: Streaming) -> list[Subscriber]:
    return [each for each in served.http.server_state.connections if isinstance(each, Subscriber)]


async def many_join(server: Server, count: int = MANY) -> None:
    """A map of `count` more peers, at once."""
    await asyncio.gather(*(server.writer.submit(register(1000 + number)) for number in range(count)))


def others(stream: Reader) -> set[PublicKey]:
    assert stream.map is not None
    return set(stream.map.peers)


@pytest.mark.parametrize("encoding", ["", "gzip, br"])
async def test_the_whole_map_comes_first_and_then_what_changes(served: Streaming, encoding: str) -> None:
    server = served.server
    await server.join(1)
    await server.join(2)
    stream = await served.open(1, accept_encoding=encoding)
    assert stream.head.get("content-encoding", "") == encoding[:4]
    assert stream.head["content-type"] == "text/event-stream"
    assert stream.head["cache-control"] == "no-store"
    assert "date" in stream.head
    assert (await stream.steps(1))[0] == server.mesh.map(public_key(1), None)
    await server.join(3)
    update = (await stream.steps(2))[1]
    assert [peer.public_key for peer in update.upsert] == [public_key(3)]
    await server.signed(2, "DELETE", "/v1/peer")
    update = (await stream.steps(3))[2]
    assert (update.kind, len(update.remove)) == (UpdateKind.DELTA, 1)
    assert others(stream) == {public_key(3)}


async def test_who_comes_back_is_told_what_changed_since(served: Streaming) -> None:
    server = served.server
    for seed in (1, 2, 3):
        await server.join(seed)
    for query, headers in (("?since=epoch1.2", {}), ("", {"last_event_id": "epoch1.2"})):
        update = (await (await served.open(1, query, **headers)).steps(1))[0]
        assert update == server.mesh.map(public_key(1), MapVersion("epoch1", 2))
        assert update.kind is UpdateKind.DELTA
    update = (await (await served.open(1, last_event_id="epoch1.3")).steps(1))[0]
    assert (update.kind, update.revision) == (UpdateKind.CURRENT, 3)
    for since in ("epoch2.3", "epoch1.4"):
        update = (await (await served.open(1, last_event_id=since)).steps(1))[0]
        assert update.kind is UpdateKind.SNAPSHOT


async def test_the_whole_of_a_large_map_comes_in_several_events(served: Streaming) -> None:
    await served.server.join(1)
    await many_join(served.server)
    stream = await served.open(1, accept_encoding="gzip")
    await stream.steps(1)
    assert len(others(stream)) == MANY
    assert stream.text.count(b"event:upsert") == 3
    assert stream.text.count(b"event:current") == 1


async def test_many_changes_at_once_are_one_step(served: Streaming) -> None:
    await served.server.join(1)
    stream = await served.open(1)
    await stream.steps(1)
    await many_join(served.server, 100)
    await stream.until(served.version)
    assert len(others(stream)) == 100
    assert len(stream.updates) < 10


async def test_who_leaves_is_told_so_by_the_end(served: Streaming) -> None:
    server = served.server
    await server.join(1)
    await server.join(2)
    leaving, staying = await served.open(1), await served.open(2)
    await leaving.steps(1)
    assert (await server.signed(1, "DELETE", "/v1/peer")).status_code == 200
    await leaving.rest()
    await staying.until(served.version)
    assert others(staying) == set()


async def test_who_leaves_while_its_stream_is_opened_gets_none(
    served: Streaming, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = served.server
    await server.join(1)

    async def leave(_version: MapVersion | None) -> None:
        await server.mesh.leave(public_key(1), signed=True)

    monkeypatch.setattr(server.mesh, "reach", leave)  # what other servers wrote is seen meanwhile
    assert (await served.ask(served.request(1))).status == 404
    assert not subscribers(served)


async def test_all_streams_end_when_the_server_stops(served: Streaming) -> None:
    for seed in (1, 2, 3):
        await served.server.join(seed)
    opened = [await served.open(seed, accept_encoding="gzip") for seed in (1, 2, 3)]
    for stream in opened:
        await stream.steps(1)
    served.http.stop()
    for stream in opened:
        await stream.rest()


async def test_a_server_that_stops_opens_no_stream(served: Streaming) -> None:
    await served.server.join(1)
    served.http.server_state.stopping = True  # type: ignore[attr-defined]  # ours, of uvicorn's
    assert (await served.ask(served.request(1))).status == 503


async def test_who_talks_on_a_stream_is_cut_off(served: Streaming) -> None:
    await served.server.join(1)
    stream = await served.open(1)
    await stream.steps(1)
    stream.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await stream.is_cut()
    await until(lambda: not served.http.server_state.connections)


async def test_a_stream_is_the_last_answer_of_its_connection(served: Streaming) -> None:
    await served.server.join(1)
    stream = await served.ask(served.request(1) + b"GET /v1/health HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert stream.status == 400
    answers = await stream.reader.read()
    assert answers.count(b"HTTP/1.1 200") == 1
    assert b'"status":"ok"' in answers
    assert not subscribers(served)


@pytest.mark.parametrize(("version", "since", "status"), [("1.0", "epoch1.1", 400), ("1.1", "nonsense", 400)])
async def test_what_cannot_be_streamed_is_refused(served: Streaming, version: str, since: str, status: int) -> None:
    await served.server.join(1)
    assert (await served.ask(served.request(1, version=version, last_event_id=since))).status == status


async def test_only_members_follow(served: Streaming) -> None:
    assert (await served.ask(served.request(1))).status == 404
    assert (await served.ask(b"GET /v1/map/stream HTTP/1.1\r\nhost: x\r\n\r\n")).status == 401


async def test_only_a_connection_can_carry_a_stream(server: Server) -> None:
    await server.join(1)
    answer = await server.signed(1, "GET", "/v1/map/stream")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_few_streams_of_a_key_and_the_oldest_gives_way(served: Streaming) -> None:
    await served.server.join(1)
    opened = []
    for _ in range(STREAMS_PER_KEY + 1):
        opened.append(await served.open(1))
        await opened[-1].steps(1)
    await opened[0].rest()
    await until(lambda: len(subscribers(served)) == STREAMS_PER_KEY)
    await served.server.join(2)
    for stream in opened[1:]:
        await stream.until(served.version)


async def test_opening_a_stream_is_no_heartbeat(served: Streaming) -> None:
    await served.server.join(1)
    heard = served.server.mesh.last_heard(public_key(1))
    served.server.time.pass_by(60)
    await (await served.open(1)).steps(1)
    assert served.server.mesh.last_heard(public_key(1)) == heard


async def test_health_counts_the_streams(served: Streaming) -> None:
    await served.server.join(1)
    for count in (0, 1):
        answer = await served.server.plain("GET", "/v1/health")
        assert answer.json()["streams"] == count
        stream = await served.open(1)
        await stream.steps(1)


@pytest.mark.usefixtures("quick")
async def test_silence_is_broken_and_it_is_said_how_to_come_back(
    served: Streaming, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.server.join(1)
    stream = await served.open(1)
    await stream.steps(1)
    assert stream.retry == round(reconnect_seconds(100), 3)
    said = len(stream.text)
    monkeypatch.setattr(streams, "QUIET_SECONDS", 0.0)
    assert (await stream.read()).startswith(b":\n\n")
    assert len(stream.text) > said
    assert len(stream.updates) == 1


async def test_who_was_written_to_lately_gets_no_comment(served: Streaming) -> None:
    await served.server.join(1)
    stream = await served.open(1)
    await stream.steps(1)
    for _ in range(streams.KEEPALIVE_SLOTS):
        served.tick()
    await served.server.join(2)
    await stream.until(served.version)
    assert stream.text.count(b":\n\n") == 1  # that of the beginning


async def stuck(served: Streaming, seed: int) -> Reader:
    """A stream whose reader does not read, though there is more than fits on the way."""
    stream = await served.open(seed)
    await until(lambda: any(each.is_paused for each in subscribers(served) if each.key == public_key(seed)))
    return stream


@pytest.fixture
async def narrow(server: Server) -> AsyncIterator[Streaming]:
    """Connections on which little is under way."""
    async with streaming(server, buffer=4096) as one:
        await server.join(1)
        await server.join(2)
        await many_join(server)
        yield one


async def test_a_slow_reader_holds_nobody_up_costs_nothing_and_catches_up(narrow: Streaming) -> None:
    server = narrow.server
    slow = await stuck(narrow, 1)
    unsent = subscribers(narrow)[0].transport.get_write_buffer_size()
    fast = await narrow.open(2, accept_encoding="gzip")
    for seed in range(3, 9):
        await server.join(seed)
        await fast.until(narrow.version)
    await server.signed(3, "DELETE", "/v1/peer")
    await many_join(server, MANY + 50)
    await fast.until(narrow.version)
    held = [each for each in subscribers(narrow) if each.is_paused]
    assert [each.transport.get_write_buffer_size() <= unsent for each in held] == [True]
    await slow.until(narrow.version)
    for stream in (slow, fast):
        assert stream.map is not None
        assert {stream.map.me.public_key: stream.map.me, **stream.map.peers} == peers_of(server.mesh.snapshot)


async def test_who_never_reads_is_cut_off(narrow: Streaming, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    await stuck(narrow, 1)
    monkeypatch.setattr(streams, "WRITE_SECONDS", 0.05)
    await until(lambda: not subscribers(narrow))


async def test_who_hangs_up_amid_the_map_is_forgotten(narrow: Streaming) -> None:
    stream = await stuck(narrow, 1)
    stream.writer.transport.abort()
    await until(lambda: not subscribers(narrow))
    await narrow.server.join(3)
    await (await narrow.open(2)).until(narrow.version)


async def test_who_does_not_read_is_not_awaited_at_the_end(narrow: Streaming) -> None:
    await stuck(narrow, 1)
    assert (await narrow.server.signed(1, "DELETE", "/v1/peer")).status_code == 200
    await until(lambda: not subscribers(narrow))


async def test_another_epoch_amid_the_map_begins_it_anew(narrow: Streaming) -> None:
    stream = await stuck(narrow, 1)
    server = narrow.server
    other = replace(server.mesh.snapshot, epoch="epoch2")
    server.writer.on_publish[-1](other)
    netmap = await stream.until(MapVersion("epoch2", other.revision))
    assert stream.text.count(b"event:snapshot") == 2
    assert all(update.epoch == "epoch2" for update in stream.updates)
    assert set(netmap.peers) | {public_key(1)} == set(other.records)


async def test_a_fault_ends_the_streams_and_is_told_once(
    served: Streaming, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in (1, 2):
        await served.server.join(seed)
    opened = [await served.open(seed) for seed in (1, 2)]
    for stream in opened:
        await stream.steps(1)

    def fail(_records: object) -> bytes:
        raise RuntimeError("no such text")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(pieces, "upsert_event", fail)
        await served.server.join(3)
        for stream in opened:
            assert await stream.is_cut()
    assert [record.message for record in caplog.records] == ["a stream of the map failed"]
    await (await served.open(1)).until(served.version)

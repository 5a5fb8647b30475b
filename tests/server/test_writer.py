"""One writer: batches, failures, and the end."""

from __future__ import annotations

import asyncio

import pytest

from tests.core.samples import public_key, register
from tests.server.conftest import Server
from tests.waiting import until
from wireguard_mesh.core.catch_up import News
from wireguard_mesh.core.commands import Leave, PeerCommand
from wireguard_mesh.core.registry import Outcome
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.errors import MeshError, NotFound, Unavailable
from wireguard_mesh.server import writer as writer_module
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.writer import Writer
from wireguard_mesh.store import store as store_module
from wireguard_mesh.store.faults import Damaged, StorageFull
from wireguard_mesh.store.store import Decide, Store


async def submit_all(writer: Writer, *commands: PeerCommand) -> list[Record | BaseException]:
    return await asyncio.gather(*(writer.submit(command) for command in commands), return_exceptions=True)


def fail_writes(monkeypatch: pytest.MonkeyPatch, store: Store, error: Exception, *, after: bool = False) -> None:
    """Let writes fail, before they were done or after."""
    commit = store.commit

    async def failing(base: Snapshot, decided: Decide, wall: float, *, always: bool = False) -> Outcome:
        if after:
            await commit(base, decided, wall, always=always)
        raise error

    monkeypatch.setattr(store, "commit", failing)


async def test_all_that_wait_are_one_batch(server: Server) -> None:
    replies = await submit_all(server.writer, *(register(seed) for seed in range(1, 41)))
    assert {reply.number for reply in replies if isinstance(reply, Record)} == set(range(1, 41))
    assert server.writer.snapshot.revision == 1
    assert (await server.store.reload()).snapshot.revision == 1


async def test_a_batch_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH", 10)
    await submit_all(server.writer, *(register(seed) for seed in range(1, 41)))
    assert server.writer.snapshot.revision == 4


async def test_one_that_is_refused_fails_alone(server: Server) -> None:
    bad, good = await submit_all(server.writer, Leave(public_key=public_key(9), signed=True), register(1))
    assert isinstance(bad, NotFound)
    assert isinstance(good, Record)


async def test_nobody_sees_a_revision_before_it_is_durable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = server.store.commit
    seen: list[int] = []

    async def watched(base: Snapshot, decided: Decide, wall: float, *, always: bool = False) -> Outcome:
        seen.append(server.writer.snapshot.revision)
        outcome = await commit(base, decided, wall, always=always)
        seen.append(server.writer.snapshot.revision)
        return outcome

    monkeypatch.setattr(server.store, "commit", watched)
    await server.writer.submit(register(1))
    assert seen == [0, 0]
    assert server.writer.snapshot.revision == 1


async def test_a_full_disk_fails_the_batch_is_said_once_and_passes(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await server.writer.submit(register(1))
    before = server.writer.snapshot
    with monkeypatch.context() as patch:
        fail_writes(patch, server.store, StorageFull("cannot write to the database: disk is full", "make room"))
        for seed in (2, 3):
            refused, plain = await submit_all(server.writer, register(seed), register(1, signed=False))
            assert isinstance(refused, StorageFull)
            assert isinstance(plain, MeshError)
        answer = await server.signed(4, "POST", "/v1/register", {"hostname": "a"})
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert answer.headers["retry-after"] == "1"
    assert server.writer.snapshot is before
    assert [record.levelname for record in caplog.records if "disk is full" in record.message] == ["ERROR"]
    assert isinstance(await server.writer.submit(register(2)), Record)
    assert "can be written again" in caplog.text
    assert (await server.store.reload()).snapshot.records == server.writer.snapshot.records


async def test_a_write_that_only_seemed_to_fail_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fail_writes(patch, server.store, Unavailable("disk I/O error"), after=True)
        with pytest.raises(Unavailable):
            await server.writer.submit(register(1))
    assert not server.writer.snapshot.records
    record = await server.writer.submit(register(2))
    assert record.number == 2
    assert server.writer.snapshot.record(public_key(1)).peer.online
    for _ in range(13):
        server.time.pass_by(10)
        await server.mesh.sweep()
    assert not server.writer.snapshot.record(public_key(1)).peer.online
    assert (await server.store.reload()).snapshot.records == server.writer.snapshot.records


async def test_a_fault_of_ours_ends_neither_the_writer_nor_a_waiter_s_wait(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        fail_writes(patch, server.store, RuntimeError("a bug"))
        with pytest.raises(Unavailable, match="failed at this"):
            await server.writer.submit(register(1))
    assert "a bug" in caplog.text
    assert (await server.writer.submit(register(1))).number == 1


async def test_a_fault_of_ours_after_the_commit_leaves_nothing_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_writes(patch, server.store, RuntimeError("a bug"), after=True)
        with pytest.raises(Unavailable, match="failed at this"):
            await server.writer.submit(register(1))
        assert server.writer.failing
    assert (await server.writer.submit(register(2))).number == 2
    assert server.writer.snapshot.record(public_key(1)).number == 1
    assert not server.writer.failing


async def test_a_database_that_proves_damaged_is_said_once_and_to_the_log_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def damaged(*_of: object) -> News:
        raise Damaged("the database is damaged: peer x", "restore a backup")

    with monkeypatch.context() as patch:
        fail_writes(patch, server.store, Unavailable("disk I/O error"), after=True)
        with pytest.raises(Unavailable, match="disk I/O error"):
            await server.writer.submit(register(1))
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "read_news", damaged)
        for seed in (2, 3):
            with pytest.raises(Unavailable, match="cannot use its database"):
                await server.writer.submit(register(seed))
    assert [record.levelname for record in caplog.records if "damaged" in record.message] == ["ERROR"]
    assert not [record for record in caplog.records if record.exc_info]
    assert (await server.writer.submit(register(4))).number == 2


async def test_a_full_queue_refuses(server: Server) -> None:
    writer = Writer(server.store, server.writer.snapshot, Clock(), max_queue=2)
    waiting = [asyncio.create_task(writer.submit(register(seed))) for seed in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too much to write"):
        await writer.submit(register(3))
    writer.stop()
    await writer.run()
    assert [(await task).number for task in waiting] == [1, 2]


async def test_what_waits_at_the_end_is_written_and_nothing_more_accepted(server: Server) -> None:
    waiting = asyncio.create_task(server.writer.submit(register(1)))
    await asyncio.sleep(0)
    server.writer.stop()
    assert (await waiting).number == 1
    with pytest.raises(Unavailable, match="stopping"):
        await server.writer.submit(register(2))


async def test_at_the_end_a_disk_that_hangs_is_not_awaited(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    started, release = asyncio.Event(), asyncio.Event()
    commit = server.store.commit

    async def slow(base: Snapshot, decided: Decide, wall: float, *, always: bool = False) -> Outcome:
        started.set()
        await release.wait()
        return await commit(base, decided, wall, always=always)

    monkeypatch.setattr(server.store, "commit", slow)
    monkeypatch.setattr(writer_module, "STOP_SECONDS", 0.0)
    writing = asyncio.create_task(server.writer.submit(register(1)))
    await started.wait()
    queued = asyncio.create_task(server.writer.submit(register(2)))
    await asyncio.sleep(0)
    server.writer.stop()
    for task in (writing, queued):
        with pytest.raises(Unavailable, match="stops and could not write this"):
            await task
    release.set()


async def test_a_disk_that_works_again_is_found_without_a_command(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def health() -> tuple[int, str]:
        answer = await server.http.get("/v1/health")
        return answer.status_code, answer.json()["status"]

    assert await health() == (200, "ok")
    with monkeypatch.context() as patch:
        fail_writes(patch, server.store, StorageFull("disk is full"))
        errors = await submit_all(server.writer, register(1), register(2))
        assert errors[0] is not errors[1]
        await server.mesh.sweep()
        assert await health() == (503, "cannot write")
    assert caplog.text.count("disk is full") == 1
    await server.mesh.sweep()
    await until(lambda: not server.writer.failing)
    assert await health() == (200, "ok")


async def test_who_gave_up_waiting_harms_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = asyncio.create_task(server.writer.submit(register(1)))
    await asyncio.sleep(0)
    gone.cancel()
    assert isinstance(await server.writer.submit(register(2)), Record)
    with monkeypatch.context() as patch:
        fail_writes(patch, server.store, Unavailable("x"))
        gone = asyncio.create_task(server.writer.submit(register(3)))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(Unavailable):
            await server.writer.submit(register(4))


async def test_each_snapshot_is_passed_on_when_it_is_durable(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []

    def faulty(_snapshot: Snapshot) -> None:
        raise RuntimeError("a bug")

    server.writer.on_publish += [faulty, lambda snapshot: seen.append(snapshot.revision)]
    await server.writer.submit(register(1, signed=False))
    await server.writer.submit(register(1, signed=True))  # no peer sees this, but the server does
    await server.writer.submit(register(1, signed=True))  # changes nothing
    await server.writer.submit(register(2))
    assert seen == [1, 1, 2]
    assert "could not be passed on" in caplog.text

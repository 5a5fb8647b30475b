"""Several servers on one PostgreSQL: one mesh, whatever happens to a connection, a server or the database."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import public_key, register, relay
from tests.core.test_catch_up import assert_same
from tests.core.test_registry import BATCHES
from tests.databases import POSTGRESQL, Databases
from tests.server.many import Running, cut_all, running
from tests.waiting import PATIENCE, until
from wireguard_mesh.core.commands import Command, DropRelay, Heartbeat, Leave, PutRelay
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.server import writer
from wireguard_mesh.store import postgres
from wireguard_mesh.store.database import Head
from wireguard_mesh.store.location import Location

MANY = 1_000


@pytest.fixture
def shared(databases: Databases) -> Location:
    return databases.new(POSTGRESQL)


def leave(seed: int) -> Leave:
    return Leave(public_key=public_key(seed), signed=True)


async def insist(submit: Callable[[], Awaitable[Record]]) -> Record:
    """As a client does: again, as long as it is told that it cannot be done now."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await submit()
            except Unavailable:
                await asyncio.sleep(0.02)


async def assert_one_mesh(*servers: Running) -> None:
    """All servers, and the database, have the same; no address was given twice, and no revision left out."""
    latest = max(servers, key=lambda server: server.snapshot.sequence)
    for server in servers:
        await server.until_equal(latest)
        assert_same(server.snapshot, (await server.store.reload()).snapshot)
    records = latest.snapshot.records.values()
    assert len({record.number for record in records}) == len(records)
    seen = {record.peer.revision for record in records} | set(latest.snapshot.tombstones.values())
    seen |= {latest.snapshot.relays_revision} - {0}
    assert seen <= set(range(1, latest.snapshot.revision + 1))


async def test_a_thousand_register_at_once_with_both(shared: Location) -> None:
    async with running(shared) as one, running(shared) as two:
        order: list[int] = []
        one.writer.on_publish.append(lambda snapshot: order.append(snapshot.revision))
        replies = await asyncio.gather(
            *((one, two)[seed % 2].writer.submit(register(seed)) for seed in range(MANY)),
        )
        assert len({reply.peer.ipv4 for reply in replies}) == len({reply.peer.id for reply in replies}) == MANY
        await assert_one_mesh(one, two)
        # Every revision is somebody's: none was skipped, and none used by both.
        assert {reply.peer.revision for reply in replies} == set(range(1, one.snapshot.revision + 1))
        assert order == sorted(order)
        assert one.snapshot.sequence == one.snapshot.revision


async def test_connections_that_end_amidst_lose_nothing(shared: Location, databases: Databases) -> None:
    async with running(shared) as one, running(shared) as two:
        submitting = [
            asyncio.create_task(insist(lambda seed=seed: (one, two)[seed % 2].writer.submit(register(seed))))  # type: ignore[misc]  # mypy cannot infer a lambda's default
            for seed in range(MANY)
        ]
        cut = 0
        while cut < 12:
            cut += await asyncio.to_thread(cut_all, databases.postgres, shared)
        replies = await asyncio.gather(*submitting)
        assert len({reply.peer.ipv4 for reply in replies}) == MANY
        await assert_one_mesh(one, two)


async def test_what_one_writes_the_other_hears(shared: Location) -> None:
    async with running(shared) as one, running(shared) as two:
        told = asyncio.Event()
        two.writer.on_publish.append(lambda _snapshot: told.set())
        await one.writer.submit(register(1, signed=False))
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert two.snapshot.record(public_key(1)).peer.online
        # Also what no peer sees.
        await one.writer.submit(register(1, signed=True))
        await until(lambda: two.snapshot.record(public_key(1)).signed)
        assert two.snapshot.revision == 1
        await two.writer.submit(leave(1))
        await one.until_equal(two)
        assert not one.snapshot.records


async def test_what_one_wrote_itself_is_not_read(shared: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(shared) as one:
        await one.writer.submit(register(1))
        read: list[int] = []
        catch_up = one.store.catch_up

        async def counted(base: Snapshot) -> Snapshot:
            read.append(base.sequence)
            return await catch_up(base)

        monkeypatch.setattr(one.store, "catch_up", counted)
        for sequence in (0, 1):
            one.writer.look(Head("epoch1", sequence))
            await one.writer.submit(register(2 + sequence))
        assert read == []
        for told in (Head("epoch1", 4), Head("other", 1), None):
            one.writer.look(told)
            await until(lambda: bool(read))
            read.clear()


async def test_each_decides_on_what_the_other_wrote(shared: Location) -> None:
    async with running(shared) as one, running(shared) as two:
        for seed in range(1, 20):
            # At once: whichever comes second must have seen the first.
            replies = await asyncio.gather(
                one.writer.submit(register(seed)), two.writer.submit(register(seed, hostname="other"))
            )
            assert replies[0].number == replies[1].number == seed
        await assert_one_mesh(one, two)


@given(batches=BATCHES, turns=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
@settings(max_examples=10, deadline=None)
async def test_any_batches_on_two_servers_are_one_mesh(
    databases: Databases, batches: list[tuple[list[Command], float]], turns: list[tuple[bool, bool]]
) -> None:
    shared = databases.new(POSTGRESQL)
    async with running(shared) as one, running(shared) as two:
        for step, (batch, _pause) in enumerate(batches):
            first, together = turns[step % len(turns)]
            writer, other = (one, two) if first else (two, one)
            half = len(batch) // 2 if together else len(batch)
            submitted = [writer.writer.submit(command) for command in batch[:half]]
            submitted += [other.writer.submit(command) for command in batch[half:]]
            await asyncio.gather(*submitted, return_exceptions=True)
        await assert_one_mesh(one, two)


async def test_without_its_database_it_reads_and_says_so_and_goes_on(
    databases: Databases, caplog: pytest.LogCaptureFixture
) -> None:
    shared = databases.new(POSTGRESQL)
    async with running(shared) as one:
        await one.writer.submit(register(1))
        databases.postgres.stop()
        try:
            await until(lambda: not one.mesh.can_write)
            for seed in (2, 3):
                with pytest.raises(Unavailable, match="cannot reach its database; try again") as caught:
                    await one.writer.submit(register(seed))
                assert "postgres" not in str(caught.value)  # where it is, is for the log
            await one.mesh.heartbeat(Heartbeat(public_key=public_key(1), signed=True))
            one.time.pass_by(1_000)
            await one.mesh.sweep()
            assert one.snapshot.record(public_key(1)).peer.online
        finally:
            databases.postgres.start()
        assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
        await until(lambda: one.mesh.can_write)
        assert (await one.writer.submit(register(2))).number == 2
        assert [record.message for record in caplog.records].count("the database can be written again") == 1
        assert not [record for record in caplog.records if record.exc_info]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that runs on no further, and its children."""
    processes = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_a_database_that_answers_no_more_is_one_that_is_gone(
    shared: Location, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_COMMAND_SECONDS", "_CONNECT_SECONDS", "_LOOK_SECONDS"):
        monkeypatch.setattr(postgres, limit, 1.0)
    async with running(shared) as one:
        await one.writer.submit(register(1))
        with frozen(databases.postgres.pid):
            amidst = asyncio.create_task(one.writer.submit(register(2)))
            with pytest.raises(Unavailable, match="cannot"):
                await amidst
            await until(lambda: not one.mesh.can_write)
            with pytest.raises(Unavailable, match="cannot reach its database"):
                await asyncio.gather(*(one.writer.submit(register(seed)) for seed in range(3, 20)))
            await until(lambda: one.writer._lost is not None)
            await one.mesh.sweep()
            with pytest.raises(Unavailable, match="cannot reach its database"):
                one.writer.submit(register(20)).send(None)  # at once, and not when an attempt has failed
            await one.mesh.heartbeat(Heartbeat(public_key=public_key(1), signed=True))
        await until(lambda: one.mesh.can_write)
        await insist(lambda: one.writer.submit(register(2)))
        await assert_one_mesh(one)


async def test_connections_that_end_while_nobody_uses_them_are_made_anew(
    shared: Location, databases: Databases
) -> None:
    async with running(shared) as one, running(shared) as two:
        await one.writer.submit(register(1))
        await two.until_equal(one)
        assert cut_all(databases.postgres, shared) >= 3
        assert (await one.writer.submit(register(2))).number == 2
        await two.until_equal(one)


async def test_one_that_is_kept_waiting_says_so(shared: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "lock_timeout", "200ms")
    async with running(shared) as one:
        async with one.store._database.writing.begin() as stuck:
            await one.store._database.lock(stuck)
            with pytest.raises(Unavailable, match=r"another server has kept the database for 5 s; try again"):
                await one.writer.submit(register(1))
        assert (await one.writer.submit(register(1))).number == 1


async def test_both_start_at_once_on_an_empty_database(shared: Location) -> None:
    async def start() -> str:
        async with running(shared) as server:
            await server.writer.submit(register(1))
            return server.snapshot.epoch

    epochs = await asyncio.gather(*(start() for _ in range(4)))
    assert set(epochs) == {"epoch1"}


async def test_a_server_that_is_asked_for_changes_since_what_it_has_not_heard_of_looks_first(shared: Location) -> None:
    async with running(shared) as one, running(shared, is_told=False) as other:
        await one.writer.submit(register(1))
        version = MapVersion(one.snapshot.epoch, one.snapshot.revision)
        await other.mesh.reach(version)
        assert other.snapshot.revision == one.snapshot.revision
        await other.mesh.reach(version)
        await other.mesh.reach(None)


async def test_a_server_that_does_not_know_a_peer_looks_whether_another_one_took_it_in(shared: Location) -> None:
    async with running(shared) as one, running(shared, is_told=False) as other:
        await one.writer.submit(register(1))
        await other.mesh.meet(public_key(1))
        assert public_key(1) in other.snapshot.records
        await other.mesh.meet(public_key(2))
        assert public_key(2) not in other.snapshot.records


async def test_the_relays_of_each_are_those_of_all(shared: Location) -> None:
    async with running(shared) as one, running(shared) as two, running(shared, is_told=False) as deaf:
        await asyncio.gather(
            *(server.writer.submit(PutRelay(relay=relay(seed))) for seed, server in enumerate((one, two, one)))
        )
        await assert_one_mesh(one, two)
        assert one.snapshot.relays == two.snapshot.relays == (relay(0), relay(1), relay(2))
        await deaf.mesh.meet(relay(1).public_key)
        assert deaf.snapshot.relay_of(relay(1).public_key) == relay(1)
        await two.writer.submit(DropRelay(id=relay(0).id))
        await one.until_equal(two)
        assert list(one.snapshot.relays) == [relay(1), relay(2)]


async def test_a_version_that_nobody_has_is_not_waited_for_long(
    shared: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SEE_SECONDS", 0.01)
    async with running(shared) as one:
        await one.mesh.reach(MapVersion(one.snapshot.epoch, 99))
        await one.mesh.reach(MapVersion("other", 99))
        assert one.snapshot.revision == 0

"""Who is online, by what several servers hear. With one server: tests/server/test_mesh.py."""

from __future__ import annotations

import pytest

from tests.core.samples import public_key, register
from tests.databases import POSTGRESQL, Databases
from tests.server.conftest import Server
from tests.server.many import Running, name_of, running
from tests.waiting import until
from wireguard_mesh.core.commands import Heartbeat, Leave
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.server.presence import FLUSH_SECONDS
from wireguard_mesh.store.location import Location

ANN = 1


@pytest.fixture
def shared(databases: Databases) -> Location:
    return databases.new(POSTGRESQL)


def online(server: Running, seed: int = ANN) -> bool:
    return server.snapshot.record(public_key(seed)).peer.online


def age(databases: Databases, shared: Location) -> None:
    """Let all that the database knows have been heard five minutes earlier."""
    databases.postgres.query(name_of(shared), "UPDATE peers SET last_seen = last_seen - 300")


async def sweep_for(server: Running, seconds: int) -> None:
    """What the sweeper does in that time, without waiting for it."""
    for _ in range(seconds // 10):
        server.time.pass_by(10)
        await server.mesh.sweep()


async def join(server: Running, seed: int = ANN) -> None:
    await server.mesh.register(
        public_key(seed), signed=True, hostname=register(seed).hostname, os_name="", exit_node=False, endpoints=()
    )


async def heartbeat(server: Running, seed: int = ANN) -> None:
    await server.mesh.heartbeat(Heartbeat(public_key=public_key(seed), signed=True))


async def test_one_of_them_looks_for_the_silent(shared: Location) -> None:
    async with running(shared) as two:
        async with running(shared) as one:
            await until(lambda: bool(one.store.term or two.store.term))
            first, second = (one, two) if one.store.term else (two, one)
            await first.writer.submit(register(1))
            await second.until_equal(first)
            assert not second.store.term
        # Whoever remains becomes it, with a term of its own.
        await until(lambda: bool(two.store.term))


async def test_a_peer_that_another_server_hears_is_not_offline(shared: Location, databases: Databases) -> None:
    async with running(shared) as one:
        await until(lambda: bool(one.store.term))
        async with running(shared) as two:
            await two.writer.submit(register(1))
            await one.until_equal(two)
            await one.mesh.sweep()  # it learns that it is the one that looks
            for _ in range(3):
                # Heard by the other one alone, and kept in the database; the clock there is not turned.
                for _ in range(13):
                    one.time.pass_by(10)
                    await one.mesh.sweep()
                await two.mesh.heartbeat(Heartbeat(public_key=public_key(1), signed=True))
                await two.mesh.flush()
                assert one.snapshot.record(public_key(1)).peer.online
            # Silent in the database for longer than the timeout, and nobody hears it.
            databases.postgres.query(name_of(shared), "UPDATE peers SET last_seen = last_seen - 300")
            two.time.pass_by(200)
            for _ in range(26):
                one.time.pass_by(10)
                await one.mesh.sweep()
            assert not one.snapshot.record(public_key(1)).peer.online
            await two.until_equal(one)
            # It moves to the first one, and is back.
            await one.mesh.heartbeat(Heartbeat(public_key=public_key(1), signed=True))
            await until(lambda: two.snapshot.record(public_key(1)).peer.online)


async def test_a_peer_taken_offline_though_it_is_heard_is_brought_back(shared: Location, databases: Databases) -> None:
    async with running(shared) as one:
        await until(lambda: bool(one.store.term))
        async with running(shared) as two:
            await two.mesh.register(
                public_key(1), signed=True, hostname=register(1).hostname, os_name="", exit_node=False, endpoints=()
            )
            await one.until_equal(two)
            await one.mesh.sweep()
            # What the second hears does not reach the database.
            databases.postgres.query(name_of(shared), "UPDATE peers SET last_seen = last_seen - 300")
            for _ in range(26):
                one.time.pass_by(10)
                await one.mesh.sweep()
            await two.until_equal(one)
            assert not two.snapshot.record(public_key(1)).peer.online
            await two.mesh.sweep()
            assert two.snapshot.record(public_key(1)).peer.online


async def test_after_nobody_looked_everybody_has_the_full_timeout(shared: Location, databases: Databases) -> None:
    async with running(shared) as two:
        async with running(shared) as one:
            await until(lambda: bool(one.store.term or two.store.term))
            await join(one)
            await two.until_equal(one)
            await sweep_for(two if one.store.term else one, 200)
        age(databases, shared)
        await until(lambda: bool(two.store.term))
        await sweep_for(two, 110)
        assert online(two)
        await sweep_for(two, 30)
        assert not online(two)


async def test_what_another_server_heard_is_shown(shared: Location) -> None:
    async with running(shared) as one, running(shared) as two:
        await join(two)
        await one.until_equal(two)
        one.time.pass_by(1_000)
        two.time.pass_by(1_000)
        await heartbeat(two)
        await two.mesh.flush()
        await one.mesh.flush()
        assert one.mesh.last_heard(public_key(ANN)) == pytest.approx(one.time.wall, abs=30)


async def test_who_left_with_another_server_is_forgotten(shared: Location) -> None:
    async with running(shared) as one, running(shared) as two:
        await join(one)
        await two.until_equal(one)
        await two.mesh.leave(public_key(ANN), signed=True)
        await one.until_equal(two)
        assert one.mesh.last_heard(public_key(ANN)) == 0.0
        await one.mesh.flush()


async def test_where_others_need_to_know_it_is_kept_more_often(shared: Location, databases: Databases) -> None:
    async with running(shared) as one:
        await join(one)
        age(databases, shared)
        one.time.pass_by(31)
        await heartbeat(one)
        await one.mesh.sweep()
        assert (await one.store.silences(one.time.wall))[public_key(ANN)] < 60


async def test_a_database_that_cannot_tell_takes_nobody_offline(
    shared: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_wall: float) -> dict[object, float]:
        raise Unavailable("cannot read the database")

    async with running(shared) as one:
        await until(lambda: bool(one.store.term))
        await join(one)
        await one.mesh.sweep()
        monkeypatch.setattr(one.store, "silences", fail)
        await sweep_for(one, 140)
        assert online(one)


async def test_one_that_is_brought_back_in_vain_is_tried_again(
    shared: Location, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_batch: object, **_options: object) -> None:
        raise Unavailable("cannot write to the database")

    async with running(shared) as one:
        await until(lambda: bool(one.store.term))
        async with running(shared) as two:
            await join(two)
            await one.until_equal(two)
            await one.mesh.sweep()
            age(databases, shared)
            await sweep_for(one, 260)
            await two.until_equal(one)
            with monkeypatch.context() as patch:
                patch.setattr(two.store, "commit", fail)
                await two.mesh.sweep()
                assert not online(two)
            await two.mesh.sweep()
            assert online(two)


async def test_alone_it_keeps_as_often_as_ever(server: Server) -> None:
    await server.join(ANN)
    server.time.pass_by(FLUSH_SECONDS / 2)
    await server.signed(ANN, "POST", "/v1/heartbeat", {})
    await server.mesh.sweep()
    seen = (await server.store.reload()).last_seen[public_key(ANN)]
    server.time.pass_by(FLUSH_SECONDS / 2)
    await server.mesh.sweep()
    assert (await server.store.reload()).last_seen[public_key(ANN)] == seen + FLUSH_SECONDS / 2
    await server.writer.submit(Leave(public_key=public_key(ANN), signed=True))

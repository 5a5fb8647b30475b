"""PostgreSQL's own. What all databases have in common: test_store.py; several servers: tests/server."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import closing, suppress
from ipaddress import IPv4Network
from typing import Any

import pytest
from sqlalchemy import text

from tests.core.samples import public_key, register
from tests.databases import POSTGRESQL, Databases
from tests.server.many import cut_all, name_of
from tests.waiting import until
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.registry import decide
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, Unavailable
from wireguard_mesh.store import postgres
from wireguard_mesh.store.database import Head
from wireguard_mesh.store.location import Location, PostgresUrl, parse_location
from wireguard_mesh.store.postgres import PostgresDatabase
from wireguard_mesh.store.store import Birth, Store

NETWORK = IPv4Network("10.100.0.0/16")
BIRTH = Birth("epoch1", bytes(5), public_key(1000))
STRANGER = Birth("epoch2", bytes(5), public_key(1001))


@pytest.fixture
def shared(databases: Databases) -> Location:
    return databases.new(POSTGRESQL)


async def loaded(location: Location, birth: Birth) -> Store:
    store = await Store.open(location)
    try:
        await store.load(NETWORK, birth)
    except BaseException:
        await store.close()
        raise
    return store


async def test_a_server_with_another_key_is_refused(shared: Location) -> None:
    await (await loaded(shared, BIRTH)).close()
    with pytest.raises(Conflict, match=r"belongs to a server with the public key .*; .*copy server.json of the first"):
        await loaded(shared, STRANGER)
    await (await loaded(shared, BIRTH)).close()


async def test_another_program_s_database_is_refused_and_left_alone(shared: Location, databases: Databases) -> None:
    databases.postgres.query(name_of(shared), "CREATE TABLE theirs (n int)")
    with pytest.raises(Conflict, match="has tables of another program; give vpn-server a database or a schema"):
        await Store.open(shared)
    tables = databases.postgres.query(
        name_of(shared), "SELECT relname FROM pg_class WHERE relname IN ('peers', 'mesh')"
    )
    assert tables in ([], [[""]])


async def test_two_meshes_have_a_schema_each(shared: Location, databases: Databases) -> None:
    assert isinstance(shared, PostgresUrl)
    databases.postgres.query(name_of(shared), "CREATE SCHEMA one; CREATE SCHEMA two")
    stores = [
        await loaded(PostgresUrl(f"{shared.dsn}&search_path={schema}"), birth)
        for schema, birth in (("one", BIRTH), ("two", STRANGER))
    ]
    try:
        # Neither waits for the other's batch.
        async with stores[0]._database.writing.begin() as busy:
            await stores[0]._database.lock(busy)
            base = (await stores[1].reload()).snapshot
            await stores[1].commit(base, lambda found, now: decide(found, [register(1)], now), 0.0)
        assert not (await stores[0].reload()).snapshot.records
    finally:
        for store in stores:
            await store.close()


async def test_a_version_that_is_too_old_is_refused(shared: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_OLDEST", 1_000)
    with pytest.raises(Conflict, match=r"is PostgreSQL .*; 1000 or newer is needed"):
        await Store.open(shared)


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("postgresql://ann:s3cret@127.0.0.1:{port}/mesh", Unavailable, "cannot reach the database .*ann@127.0.0.1:"),
        ("postgresql://ann:s3cret@/mesh?host=/nowhere", Unavailable, "cannot reach the database .*No such file"),
        ("postgresql://ann:s3cret@127.0.0.1/mesh?sslmode=nonsense", InvalidValue, "cannot be used: .*see -db"),
    ],
)
async def test_what_cannot_be_reached_is_said_without_a_password(
    url: str, kind: type[MeshError], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(kind, match=says) as caught:
        await Store.open(parse_location(url.format(port=port)))
    assert "s3cret" not in f"{caught.value!s}{caught.value!r}{caplog.text}"


async def test_a_role_or_database_that_is_not_there_is_said(databases: Databases) -> None:
    location = databases.new(POSTGRESQL)
    assert isinstance(location, PostgresUrl)
    with pytest.raises(Unavailable, match='database "nowhere" does not exist'):
        await Store.open(PostgresUrl(location.dsn.replace(f"/{name_of(location)}?", "/nowhere?")))
    with pytest.raises(Unavailable, match='role "nobody" does not exist'):
        await Store.open(PostgresUrl(location.dsn.replace("postgres@", "nobody:s3cret@")))


async def follow(database: PostgresDatabase, seen: list[Any]) -> asyncio.Task[None]:
    task = asyncio.create_task(database.follow(seen.append, seen.append))
    await until(lambda: bool(seen))
    return task


async def end(task: asyncio.Task[None], database: PostgresDatabase) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await database.writing.dispose()


async def test_who_follows_hears_of_each_commit_and_of_each_loss(shared: Location, databases: Databases) -> None:
    await (await loaded(shared, BIRTH)).close()
    assert isinstance(shared, PostgresUrl)
    database = PostgresDatabase(shared)
    seen: list[Any] = []
    task = await follow(database, seen)
    assert seen == [Head("epoch1", 0)]
    databases.postgres.query(name_of(shared), f"NOTIFY {postgres.CHANNEL}, 'epoch1 7'")
    databases.postgres.query(name_of(shared), f"NOTIFY {postgres.CHANNEL}, 'what is this'")
    await until(lambda: len(seen) == 3)
    assert seen[1:] == [Head("epoch1", 7), None]
    term = database.term
    assert term
    cut_all(databases.postgres, shared)
    await until(lambda: len(seen) == 5)
    assert isinstance(seen[3], Unavailable)
    assert "is lost" in str(seen[3])
    assert seen[4] == Head("epoch1", 0)  # what came meanwhile
    assert database.term > term
    await end(task, database)


async def test_an_outage_is_told_once(shared: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    await (await loaded(shared, BIRTH)).close()
    assert isinstance(shared, PostgresUrl)
    database = PostgresDatabase(shared)
    tried: list[int] = []
    monkeypatch.setattr(postgres, "_RETRY", Backoff(first=0.0, longest=0.0))

    async def fail(**_settings: str) -> None:
        tried.append(1)
        raise Unavailable("cannot reach the database")

    with monkeypatch.context() as patch:
        patch.setattr(database, "_connect", fail)
        seen: list[Any] = []
        task = await follow(database, seen)
        await until(lambda: len(tried) > 3)
    await until(lambda: len(seen) > 1)
    assert [type(item) for item in seen] == [Unavailable, Head]
    await end(task, database)


async def test_a_server_that_is_stopped_amidst_a_batch_does_not_keep_the_others(
    shared: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "idle_in_transaction_session_timeout", "300ms")
    store = await loaded(shared, BIRTH)
    stopped = store._database.writing.connect()
    connection = await stopped.start()
    await store._database.lock(connection)
    base = (await store.reload()).snapshot
    outcome = await store.commit(base, lambda found, now: decide(found, [register(1)], now), 0.0)
    assert outcome.snapshot.revision == 1
    with pytest.raises(Exception, match=r"closed|terminat"):
        await connection.execute(text("SELECT 1"))
    await connection.invalidate()
    await connection.close()
    await store.close()


def test_nothing_of_it_is_imported_for_a_file() -> None:
    script = "import sys, wireguard_mesh.store.store, wireguard_mesh.server.daemon; print('asyncpg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

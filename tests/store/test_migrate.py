"""Versions of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.core.samples import public_key, register
from wireguard_mesh.core.commands import Leave
from wireguard_mesh.core.registry import decide
from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.store import migrate as migrate_module
from wireguard_mesh.store.database import open_database
from wireguard_mesh.store.location import Location
from wireguard_mesh.store.migrate import HEAD, migrate
from wireguard_mesh.store.store import Birth, Store
from wireguard_mesh.store.tables import metadata

SCRIPTS = Path(migrate_module.__file__).parent / "migrations"
NETWORK = IPv4Network("10.100.0.0/16")
BIRTH = Birth("epoch1", bytes(5), public_key(1000))


@asynccontextmanager
async def connected(location: Location) -> AsyncIterator[AsyncConnection]:
    database = open_database(location)
    async with database.writing.begin() as connection:
        yield connection
    await database.writing.dispose()


def alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    return config


def test_head_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_the_scripts_make_the_tables_that_the_code_uses(location: Location) -> None:
    async with connected(location) as connection:
        await connection.run_sync(migrate)
        difference = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain), metadata)
        )
    assert difference == []


async def test_what_was_made_can_be_unmade(location: Location) -> None:
    def down(connection: Connection) -> list[str]:
        command.downgrade(alembic_config(connection), "base")
        return inspect(connection).get_table_names()

    async with connected(location) as connection:
        await connection.run_sync(migrate)
        assert await connection.run_sync(down) == ["alembic_version"]


async def test_a_database_of_the_first_version_keeps_its_peers(location: Location) -> None:
    def to_first(connection: Connection) -> None:
        command.downgrade(alembic_config(connection), "0001")

    store = await Store.open(location)
    base = (await store.load(NETWORK, BIRTH)).snapshot
    base = (await store.commit(base, lambda found, now: decide(found, [register(1), register(2)], now), 50.0)).snapshot
    leave = Leave(public_key=public_key(2), signed=True)
    await store.commit(base, lambda found, now: decide(found, [leave], now), 60.0)
    before = await store.reload()
    await store.close()
    async with connected(location) as connection:
        await connection.run_sync(to_first)
        columns = await connection.run_sync(lambda plain: inspect(plain).get_columns("peers"))
        assert "sequence" not in {column["name"] for column in columns}
    store = await Store.open(location)
    after = await store.load(NETWORK, BIRTH)
    assert after.snapshot.records == before.snapshot.records
    assert after.snapshot.tombstones == before.snapshot.tombstones
    assert dict(after.snapshot.pool.leases) == dict(before.snapshot.pool.leases)
    assert after.last_seen == before.last_seen
    assert (after.snapshot.revision, after.snapshot.sequence) == (2, 0)
    outcome = await store.commit(after.snapshot, lambda found, now: decide(found, [register(2)], now), 70.0)
    assert outcome.snapshot.record(public_key(2)).number == 2  # its own, from quarantine
    await store.close()


async def test_a_current_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    await (await Store.open(path)).close()
    before = path.read_bytes()
    await (await Store.open(path)).close()
    assert path.read_bytes() == before


async def test_a_newer_database_is_refused_and_left_alone(location: Location) -> None:
    await (await Store.open(location)).close()
    async with connected(location) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match=r"newer vpn-server .*9999.*update this vpn-server"):
        await Store.open(location)


async def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    path.write_bytes(b"this is a letter\n" * 100)
    with pytest.raises(Exception, match="file is not a database"):
        await Store.open(path)
    assert path.read_bytes() == b"this is a letter\n" * 100

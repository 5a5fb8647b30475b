"""What every use of a database goes by."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.store import access
from wireguard_mesh.store.database import Database, open_database
from wireguard_mesh.store.location import Location
from wireguard_mesh.store.migrate import HEAD, is_current


async def count(connection: AsyncConnection) -> int:
    found: int = (await connection.execute(text("SELECT count(*) FROM mesh"))).scalar_one()
    return found


async def insert(connection: AsyncConnection) -> None:
    names = "id, epoch, sequence, revision, purged, ipv4_network, ipv6_prefix, server_public_key"
    await connection.execute(text(f"INSERT INTO mesh ({names}) VALUES (1, 'e', 0, 0, 0, '', '', '')"))


async def insert_twice(database: Database) -> None:
    async with access.transaction(database, "write it") as connection:
        await insert(connection)
        await insert(connection)


async def test_a_transaction_is_all_or_nothing(location: Location) -> None:
    database = open_database(location)
    try:
        await access.prepare(database)
        await access.prepare(database)  # it is as it should be
        with pytest.raises(Unavailable, match="cannot write it: "):
            await insert_twice(database)
        async with access.reading(database) as connection:
            assert await count(connection) == 0
        async with access.transaction(database, "write it") as connection:
            await insert(connection)
        async with access.reading(database) as connection:
            assert await count(connection) == 1
    finally:
        await database.writing.dispose()


async def test_only_a_database_of_this_version_is_read_as_it_is(location: Location) -> None:
    database = open_database(location)
    try:
        async with access.reading(database) as connection:
            assert not await connection.run_sync(is_current)
        await access.prepare(database)
        async with access.reading(database) as connection:
            assert await connection.run_sync(is_current)
        async with access.transaction(database, "write it") as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        async with access.reading(database) as connection:
            with pytest.raises(Conflict, match=f"its version is 0001, this one knows {HEAD}"):
                await connection.run_sync(is_current)
    finally:
        await database.writing.dispose()

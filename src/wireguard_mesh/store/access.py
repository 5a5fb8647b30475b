"""How a database is opened, read and written, whatever it is that is read or written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from wireguard_mesh.store.database import Database
from wireguard_mesh.store.faults import translated
from wireguard_mesh.store.migrate import migrate


async def prepare(database: Database) -> None:
    """Bring a database to this program's version; tables are made in an empty one.

    Raises `Conflict` if it is of a newer version or another program's, `Unavailable` if it cannot be read or written.
    """
    async with transaction(database, f"open the database {database.name}") as connection:
        await connection.run_sync(database.refuse_foreign)
        await connection.run_sync(migrate)


@asynccontextmanager
async def transaction(database: Database, what: str) -> AsyncIterator[AsyncConnection]:
    """All of it or nothing, and nobody else writes meanwhile. Raises `StorageFull`, `Unavailable`."""
    database.check()
    with translated(what, database.hint, database.faults):
        async with database.writing.begin() as connection:
            await database.lock(connection)
            yield connection


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncConnection]:
    """All that is read is of one moment. Raises `Unavailable`."""
    database.check()
    with translated("read the database", database.hint, database.faults):
        async with database.reading.connect() as connection:
            yield connection

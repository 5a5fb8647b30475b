"""Each location has its kind of database."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.databases import POSTGRESQL, SQLITE, Databases
from wireguard_mesh.store.database import open_database


@pytest.mark.parametrize(("engine", "shared"), [(SQLITE, False), (POSTGRESQL, True)])
async def test_a_location_says_what_it_is(databases: Databases, engine: str, shared: bool) -> None:
    location = databases.new(engine)
    database = open_database(location)
    assert (database.name, database.shared) == (str(location), shared)
    assert bool(database.term) is not shared  # alone, it is the one that looks for silent peers
    async with database.reading.connect() as connection:
        now = (await connection.execute(select(database.clock), {"wall": 12.0})).scalar_one()
    assert now == 12.0 if engine == SQLITE else now > 1_700_000_000
    await database.writing.dispose()


async def test_alone_there_is_nobody_to_follow(tmp_path: Path) -> None:
    database = open_database(tmp_path / "peers.db")
    await database.follow(lambda _head: None, lambda _error: None)
    await database.writing.dispose()

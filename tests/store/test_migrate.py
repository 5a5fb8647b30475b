"""Versions of the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.store import sqlite
from wireguard_mesh.store.migrate import HEAD, migrate
from wireguard_mesh.store.store import Store
from wireguard_mesh.store.tables import metadata

SCRIPTS = Path(sqlite.__file__).parent / "migrations"


def test_head_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_the_scripts_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    engine = sqlite.engine(tmp_path / "peers.db")
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
        difference = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain), metadata)
        )
    await engine.dispose()
    assert difference == []


async def test_what_was_made_can_be_unmade(tmp_path: Path) -> None:
    def down(connection: Connection) -> list[str]:
        config = Config()
        config.set_main_option("script_location", str(SCRIPTS))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return inspect(connection).get_table_names()

    engine = sqlite.engine(tmp_path / "peers.db")
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
        assert await connection.run_sync(down) == ["alembic_version"]
    await engine.dispose()


async def test_a_current_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    await (await Store.open(path)).close()
    before = path.read_bytes()
    await (await Store.open(path)).close()
    assert path.read_bytes() == before


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    await (await Store.open(path)).close()
    engine = sqlite.engine(path)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    with pytest.raises(Conflict, match=r"newer vpn-server .*9999.*update this vpn-server"):
        await Store.open(path)


async def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    path.write_bytes(b"this is a letter\n" * 100)
    with pytest.raises(Exception, match="file is not a database"):
        await Store.open(path)
    assert path.read_bytes() == b"this is a letter\n" * 100

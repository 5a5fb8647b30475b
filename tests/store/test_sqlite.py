"""How SQLite's files are opened."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.store import sqlite
from wireguard_mesh.store.store import Store


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_files_are_for_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    path.touch(mode=0o644)
    before = os.umask(0)
    try:
        engine = sqlite.engine(path)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (x INTEGER)"))
            modes = modes_in(tmp_path)
        await engine.dispose()
    finally:
        os.umask(before)
    assert modes == {"peers.db": 0o600, "peers.db-wal": 0o600, "peers.db-shm": 0o600}


async def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    engine = sqlite.engine(tmp_path / "peers.db")
    async with engine.connect() as connection:
        journal = (await connection.execute(text("PRAGMA journal_mode"))).scalar_one()
        synchronous = (await connection.execute(text("PRAGMA synchronous"))).scalar_one()
    await engine.dispose()
    assert (journal, synchronous) == ("wal", 2)  # 2 is FULL


async def test_changes_of_tables_are_taken_back_too(tmp_path: Path) -> None:
    engine = sqlite.engine(tmp_path / "peers.db")
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
        await transaction.rollback()
    async with engine.connect() as connection:
        tables = (await connection.execute(text("SELECT name FROM sqlite_master"))).all()
    await engine.dispose()
    assert tables == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot write the database .*: Is a directory; choose a place"):
        sqlite.engine(tmp_path)


def test_a_device_is_no_database_and_keeps_its_mode() -> None:
    before = Path("/dev/null").stat().st_mode
    with pytest.raises(Unavailable, match="no regular file"):
        sqlite.engine(Path("/dev/null"))
    assert Path("/dev/null").stat().st_mode == before


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = (path.read_bytes(), path.stat().st_mode)
    with pytest.raises(Conflict, match="is a database of another program"):
        await Store.open(path)
    assert (path.read_bytes(), path.stat().st_mode) == before


def test_a_file_is_known_by_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert sqlite.file_of(path) is None
    path.touch()
    (tmp_path / "y").touch()
    assert sqlite.file_of(path) == sqlite.file_of(path) != sqlite.file_of(tmp_path / "y")

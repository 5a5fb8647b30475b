"""Whole databases, from each engine to each: the same is there, or nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.core.samples import observe, public_key, register, relay
from tests.core.test_catch_up import assert_same
from tests.databases import ENGINES, POSTGRESQL, SQLITE, Databases
from tests.store.test_store import BIRTH, HOUR, NETWORK, opened
from tests.waiting import until
from wireguard_mesh.core.commands import Command, Leave, PutRelay
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import Conflict, InvalidValue, NotFound, Unavailable
from wireguard_mesh.store import access, transfer
from wireguard_mesh.store.database import open_database
from wireguard_mesh.store.faults import Damaged
from wireguard_mesh.store.location import Location, PostgresUrl
from wireguard_mesh.store.lock import DatabaseLock
from wireguard_mesh.store.store import Store
from wireguard_mesh.store.tables import NOBODY, metadata, peers, quarantine, relays

OURS = BIRTH.server_public_key
Tables = dict[str, list[dict[str, Any]]]


async def fill(location: Location, *seeds: int) -> None:
    """A mesh with peers: one left, one that did so before is forgotten, one has signed, two were heard since."""

    async def commit(store: Store, base: Snapshot, commands: Sequence[Command], now: float) -> Snapshot:
        return (await store.commit(base, lambda found, _: decide(found, commands, now, HOUR), now)).snapshot

    async with opened(location) as store:
        snapshot = (await store.load(NETWORK, BIRTH)).snapshot
        joining = [register(seed, endpoints=("192.0.2.1:1", "[2001:db8::1]:2"), signed=seed % 2 == 0) for seed in seeds]
        snapshot = await commit(store, snapshot, joining, 50.25)
        snapshot = await commit(store, snapshot, [Leave(public_key=public_key(seeds[0]), signed=True)], 60.125)
        news: list[Command] = [register(1_000_000), observe(1_000_000, "192.0.2.9:1"), PutRelay(relay=relay(1))]
        await commit(store, snapshot, news, 61.0)
        await store.save_relays_seen([relay(1).id])
        await store.save_last_seen([(public_key(seeds[1]), 2e9 + 1 / 3), (public_key(seeds[2]), 3e9)], 0.0)


async def tables_of(location: Location) -> Tables:
    """Everything, in an order that does not depend on the engine."""
    database = open_database(location)
    found: Tables = {}
    async with access.reading(database) as connection:
        for table in metadata.sorted_tables:
            rows = (await connection.execute(table.select())).mappings().all()
            found[table.name] = sorted((dict(row) for row in rows), key=str)
    await database.writing.dispose()
    return found


def without_history(tables: Tables) -> Tables:
    """But for which batch wrote a row, which addresses are free again, and when relays were heard: for servers that
    run, and none does."""
    (mesh,) = tables["mesh"]
    kept = {
        name: [{**row, "sequence": mesh["sequence"]} if "sequence" in row else row for row in rows]
        for name, rows in tables.items()
    }
    kept[relays.name] = [{**row, "last_seen": 0.0} for row in kept[relays.name]]
    kept[quarantine.name] = [row for row in kept[quarantine.name] if row["public_key"] != NOBODY]
    return kept


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def spoil(location: Location, statement: str) -> None:
    database = open_database(location)
    async with access.transaction(database, "spoil the database") as connection:
        await connection.execute(text(statement))
    await database.writing.dispose()


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_copy_there_and_back_has_the_same_in_all_tables(
    location: Location, engine: str, databases: Databases
) -> None:
    await fill(location, *range(1, 30))
    before = await tables_of(location)
    assert all(before.values())
    there, back, again = databases.new(engine), databases.new(SQLITE), databases.new(POSTGRESQL)
    whole = await transfer.copy(location, there)
    assert len(whole.snapshot.records) == len(before[peers.name])
    await transfer.copy(there, back)
    await transfer.copy(back, again)
    assert await tables_of(location) == before
    assert await tables_of(there) == await tables_of(back) == await tables_of(again) == without_history(before)


async def test_a_copied_mesh_goes_on_at_its_revision(location: Location, databases: Databases) -> None:
    await fill(location, 1, 2, 3)
    destination = databases.new(SQLITE)
    await transfer.copy(location, destination)
    async with opened(location) as old, opened(destination) as new:
        loaded = await new.load(NETWORK, BIRTH)
        expected = await old.reload()
        assert_same(loaded.snapshot, expected.snapshot)
        assert (loaded.last_seen, loaded.server_public_key) == (expected.last_seen, expected.server_public_key)
        assert await new.catch_up(loaded.snapshot) is loaded.snapshot


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_copy_goes_to_an_empty_place_only(location: Location, engine: str, databases: Databases) -> None:
    await fill(location, 1, 2, 3)
    standing = databases.new(engine)
    await fill(standing, 4, 5, 6)
    before = await tables_of(standing)
    with pytest.raises(Conflict, match=r"is not empty; name|exists already; name"):
        await transfer.copy(location, standing)
    assert await tables_of(standing) == before


async def test_a_copy_of_nothing_is_refused_and_makes_nothing(location: Location, tmp_path: Path) -> None:
    destination = tmp_path / "copy.db"
    with pytest.raises(NotFound, match="there is no mesh in"):
        await transfer.copy(location, destination)
    async with opened(location):  # tables, and nothing in them
        pass
    with pytest.raises(NotFound, match="there is no mesh in"):
        await transfer.copy(location, destination)
    assert names_in(tmp_path) in ([], ["copy.db.lock"])
    with pytest.raises(InvalidValue, match="cannot be copied to itself"):
        await transfer.copy(location, location)


async def test_a_place_that_is_not_there_is_said(location: Location, tmp_path: Path) -> None:
    await fill(location, 1, 2, 3)
    with pytest.raises(Unavailable, match=r"cannot write .*nowhere"):
        await transfer.copy(location, tmp_path / "nowhere" / "copy.db")
    with pytest.raises(Unavailable, match=r"cannot write .*nowhere"):
        await transfer.back_up(location, tmp_path / "nowhere" / "copy.db")
    with pytest.raises(Conflict, match="exists already"):
        await transfer.back_up(location, tmp_path, replacing=True)


@asynccontextmanager
async def served(location: Location) -> AsyncIterator[None]:
    """As a server that serves the database has it."""
    if isinstance(location, PostgresUrl):
        from tests.server.many import running

        async with running(location) as server:
            await until(lambda: server.store.term > 0)
            yield
    else:
        with DatabaseLock(location):
            yield


async def test_a_database_that_is_served_is_neither_copied_nor_restored(location: Location, tmp_path: Path) -> None:
    await fill(location, 1, 2, 3)
    await transfer.back_up(location, tmp_path / "backup.db")
    before = await tables_of(location)
    async with served(location):
        says = r"another vpn-server uses this database: pid \d+; stop it first|a vpn-server serves .*; stop all servers"
        with pytest.raises(Conflict, match=says):
            await transfer.copy(location, tmp_path / "copy.db")
        with pytest.raises(Conflict, match=says):
            await restored(location, tmp_path, force=True)
        assert without_history(await tables_of(location)) == without_history(before)
        assert not (tmp_path / "copy.db").exists()
        await transfer.back_up(location, tmp_path / "while-served.db")
    await transfer.copy(location, tmp_path / "copy.db")
    assert await tables_of(tmp_path / "copy.db") == await tables_of(tmp_path / "while-served.db")


async def test_a_backup_is_one_file_of_the_owners(location: Location, tmp_path: Path) -> None:
    await fill(location, 1, 2, 3)
    file = tmp_path / "backup.db"
    before = os.umask(0)
    try:
        await transfer.back_up(location, file)
    finally:
        os.umask(before)
    assert names_in(tmp_path) == ["backup.db"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert await tables_of_file(file) == without_history(await tables_of(location))


async def tables_of_file(file: Path) -> Tables:
    """As `tables_of`, of a file where nothing may be written."""
    with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        found = {
            table.name: [dict(row) for row in connection.execute(f"SELECT * FROM {table.name}")]
            for table in metadata.sorted_tables
        }
    for row in found[peers.name]:
        row.update({name: bool(row[name]) for name in ("exit_node", "online", "signed")})
    return {name: sorted(rows, key=str) for name, rows in found.items()}


async def test_a_backup_replaces_a_file_only_when_told_so(location: Location, tmp_path: Path) -> None:
    await fill(location, 1, 2, 3)
    file = tmp_path / "backup.db"
    file.write_text("mine")
    with pytest.raises(Conflict, match="exists already"):
        await transfer.back_up(location, file)
    assert file.read_text() == "mine"
    await transfer.back_up(location, file, replacing=True)
    assert await tables_of(file) == without_history(await tables_of(location))
    with pytest.raises(InvalidValue, match="is the database itself"):
        await transfer.back_up(file, file, replacing=True)


async def test_a_backup_does_not_wait_for_who_writes(location: Location, tmp_path: Path) -> None:
    await fill(location, 1, 2, 3)
    database = open_database(location)
    async with access.transaction(database, "write") as connection:
        await connection.execute(text("UPDATE mesh SET revision = 77"))
        await transfer.back_up(location, tmp_path / "backup.db")
    await database.writing.dispose()
    assert (await tables_of(tmp_path / "backup.db"))["mesh"][0]["revision"] == 3
    assert (await tables_of(location))["mesh"][0]["revision"] == 77


async def restored(location: Location, folder: Path, *, force: bool = False) -> transfer.Restored:
    return await transfer.restore(folder / "backup.db", location, ours=OURS, force=force, kept=folder / "kept.db")


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_restored_mesh_has_a_new_epoch_and_nothing_else_new(
    location: Location, engine: str, databases: Databases, tmp_path: Path
) -> None:
    await fill(location, 1, 2, 3)
    await transfer.back_up(location, tmp_path / "backup.db")
    before = (tmp_path / "backup.db").read_bytes()
    destination = databases.new(engine)
    done = await restored(destination, tmp_path)
    expected, found = without_history(await tables_of(location)), await tables_of(destination)
    epoch = found["mesh"][0]["epoch"]
    assert epoch != expected["mesh"][0]["epoch"]
    assert found == {**expected, "mesh": [{**expected["mesh"][0], "epoch": epoch}]}
    assert (done.kept, done.foreign, len(done.whole.snapshot.records)) == (None, None, 3)
    assert (tmp_path / "backup.db").read_bytes() == before
    await restored(destination, tmp_path, force=True)
    assert (await tables_of(destination))["mesh"][0]["epoch"] not in {epoch, expected["mesh"][0]["epoch"]}


async def test_peers_are_never_written_over_without_being_kept(location: Location, tmp_path: Path) -> None:
    await fill(tmp_path / "other.db", 1, 2, 3)
    await transfer.back_up(tmp_path / "other.db", tmp_path / "backup.db")
    async with opened(location) as store:  # a mesh without peers
        await store.load(NETWORK, BIRTH)
    await restored(location, tmp_path)
    assert not (tmp_path / "kept.db").exists()
    standing = await tables_of(location)
    with pytest.raises(Conflict, match=r"has peers: 3; with -force they are backed up"):
        await restored(location, tmp_path)
    assert await tables_of(location) == standing
    done = await restored(location, tmp_path, force=True)
    assert done.kept == tmp_path / "kept.db"
    assert await tables_of(tmp_path / "kept.db") == standing
    with pytest.raises(Conflict, match=r"kept\.db exists already"):
        await restored(location, tmp_path, force=True)


async def test_the_log_of_a_database_that_was_removed_is_none_of_the_restored_one(tmp_path: Path) -> None:
    location = tmp_path / "peers.db"
    await fill(location, 1, 2, 3)
    await transfer.back_up(location, tmp_path / "backup.db")
    async with opened(location) as store:
        await store.save_last_seen([(public_key(2), 4e9)], 0.0)
        log = (tmp_path / "peers.db-wal").read_bytes()
        assert log
    location.unlink()
    (tmp_path / "peers.db-wal").write_bytes(log)
    await restored(location, tmp_path)
    expected, found = await tables_of(tmp_path / "backup.db"), await tables_of(location)
    assert found[peers.name] == expected[peers.name]


async def test_another_servers_backup_is_the_next_servers_that_starts(location: Location, tmp_path: Path) -> None:
    await fill(location, 1, 2, 3)
    await transfer.back_up(location, tmp_path / "backup.db")
    done = await transfer.restore(
        tmp_path / "backup.db", location, ours=public_key(7), force=True, kept=tmp_path / "kept.db"
    )
    assert done.foreign == OURS
    assert (await tables_of(location))["mesh"][0]["server_public_key"] == ""
    async with opened(location) as store:
        assert (await store.load(NETWORK, BIRTH)).server_public_key == OURS


async def test_a_file_that_cannot_be_read_is_kept_aside(tmp_path: Path) -> None:
    location = tmp_path / "peers.db"
    await fill(location, 1, 2, 3)
    await transfer.back_up(location, tmp_path / "backup.db")
    location.write_text("no database at all, but long enough to be looked at" * 100)
    with pytest.raises(InvalidValue, match="is no SQLite database; with -force it is kept aside"):
        await restored(location, tmp_path)
    done = await restored(location, tmp_path, force=True)
    assert done.kept is not None
    assert done.kept.read_text().startswith("no database at all")
    assert len((await tables_of(location))[peers.name]) == 3


@pytest.mark.parametrize(
    ("statement", "error", "says"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", Conflict, r"made by (a newer|another) vpn-server"),
        (
            "UPDATE peers SET public_key = 'x' WHERE id = (SELECT min(id) FROM peers)",
            Damaged,
            r"is damaged: peer peer-\d+",
        ),
        ("DROP TABLE peers", Unavailable, "cannot read the database"),
        ("DROP TABLE alembic_version", Conflict, "of another program"),
    ],
)
async def test_what_is_wrong_with_a_source_is_said_and_it_stays(
    location: Location, tmp_path: Path, statement: str, error: type[Exception], says: str
) -> None:
    await fill(location, 1, 2, 3)
    await spoil(location, statement)
    for work in (
        transfer.copy(location, tmp_path / "new.db"),
        transfer.back_up(location, tmp_path / "new.db"),
    ):
        with pytest.raises(error, match=says) as raised:
            await work
        assert "image.db" not in str(raised.value)
    assert names_in(tmp_path) in ([], ["new.db.lock"])


async def test_a_damaged_postgresql_is_not_restored_over(databases: Databases, tmp_path: Path) -> None:
    location = databases.new(POSTGRESQL)
    await fill(location, 1, 2, 3)
    await transfer.back_up(location, tmp_path / "backup.db")
    await spoil(location, "UPDATE peers SET public_key = 'x' WHERE id = (SELECT min(id) FROM peers)")
    with pytest.raises(Damaged):
        await restored(location, tmp_path, force=True)
    assert not (tmp_path / "kept.db").exists()

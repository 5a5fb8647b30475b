"""The database holds what it was given, whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import text

from tests.core.samples import public_key, register
from tests.core.test_registry import BATCHES
from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.registry import Command, Leave, decide
from wireguard_mesh.core.snapshot import Changes, Snapshot
from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.store.faults import Damaged, StorageFull
from wireguard_mesh.store.store import Birth, Store

NETWORK = IPv4Network("10.100.0.0/16")
OTHER = IPv4Network("10.200.0.0/24")
BIRTH = Birth("epoch1", bytes(5))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "peers.db")
    yield opened
    await opened.close()


async def fill(store: Store, *commands: Command) -> Snapshot:
    snapshot = (await store.load(NETWORK, BIRTH)).snapshot
    outcome = decide(snapshot, commands, 50.0)
    await store.write(outcome.changes, 60.0)
    return outcome.snapshot


async def test_a_new_database_has_a_mesh_of_its_own(store: Store) -> None:
    loaded = await store.load(NETWORK, BIRTH)
    assert loaded.snapshot.epoch == "epoch1"
    assert loaded.snapshot.network.ipv4 == NETWORK
    assert str(loaded.snapshot.network.ipv6) == "fd00::/64"
    assert (loaded.snapshot.revision, loaded.snapshot.records, loaded.last_seen) == (0, {}, {})


async def test_what_was_written_is_read_again(store: Store, tmp_path: Path) -> None:
    snapshot = await fill(store, register(1, endpoints=("192.0.2.1:51820", "[2001:db8::1]:1")), register(2))
    outcome = decide(snapshot, [Leave(public_key=public_key(2), signed=True), register(1, hostname="new")], 70.0)
    await store.write(outcome.changes, 71.0)
    await store.close()
    again = await Store.open(tmp_path / "peers.db")
    loaded = await again.load(NETWORK, Birth("unused", bytes(5)))
    await again.close()
    assert loaded.snapshot.records == outcome.snapshot.records
    assert loaded.snapshot.tombstones == outcome.snapshot.tombstones
    assert loaded.snapshot.pool.leases == outcome.snapshot.pool.leases
    assert (loaded.snapshot.epoch, loaded.snapshot.revision) == ("epoch1", 2)
    assert loaded.last_seen == {public_key(1): 60.0}
    assert await again.revision() == 2
    await again.close()


@given(BATCHES)
@settings(max_examples=15, deadline=None)
async def test_any_sequence_of_batches_is_stored(batches: list[tuple[list[Command], float]]) -> None:
    folder = TemporaryDirectory()
    store = await Store.open(Path(folder.name) / "peers.db")
    try:
        snapshot = (await store.load(NETWORK, BIRTH)).snapshot
        now = 0.0
        for batch, pause in batches:
            now += pause
            outcome = decide(snapshot, batch, now, quarantine=100.0)
            if not outcome.changes.is_empty:
                await store.write(outcome.changes, now)
            snapshot = outcome.snapshot
        loaded = (await store.reload()).snapshot
    finally:
        await store.close()
        folder.cleanup()
    assert loaded.records == snapshot.records
    assert loaded.tombstones == snapshot.tombstones
    assert loaded.pool.leases == snapshot.pool.leases
    assert loaded.revision == snapshot.revision


async def test_old_tombstones_are_purged(store: Store) -> None:
    snapshot = await fill(store, register(1), register(2))
    left = decide(snapshot, [Leave(public_key=public_key(1), signed=True)], 0.0)
    await store.write(left.changes, 0.0)
    await store.write(Changes(3, 2, purge=True), 0.0)
    loaded = (await store.reload()).snapshot
    assert (loaded.tombstones, loaded.purged) == ({}, 2)


async def test_last_seen_is_kept_without_a_revision(store: Store) -> None:
    await fill(store, register(1), register(2))
    await store.save_last_seen([(public_key(1), 99.0), (public_key(7), 1.0)])
    await store.save_last_seen([])
    loaded = await store.reload()
    assert loaded.last_seen == {public_key(1): 99.0, public_key(2): 60.0}
    assert loaded.snapshot.revision == 1


async def test_another_network_is_refused_while_peers_have_addresses_of_the_old_one(store: Store) -> None:
    await fill(store, register(1))
    with pytest.raises(
        Conflict, match=r"the 1 peers .* 10\.100\.0\.0/16, not of 10\.200\.0\.0/24; start with -network"
    ):
        await store.load(OTHER, BIRTH)
    kept = await store.load(OTHER, BIRTH, binding=False)
    assert kept.snapshot.network.ipv4 == NETWORK


async def test_an_empty_mesh_changes_its_network_and_its_epoch(store: Store) -> None:
    left = await fill(store, register(1))
    await store.write(decide(left, [Leave(public_key=public_key(1), signed=True)], 0.0).changes, 0.0)
    loaded = await store.load(OTHER, Birth("epoch2", bytes(5)))
    assert (loaded.snapshot.network.ipv4, loaded.snapshot.epoch) == (OTHER, "epoch2")
    assert not loaded.snapshot.pool.leases


async def test_a_batch_that_fails_leaves_nothing_behind(store: Store) -> None:
    snapshot = await fill(store, register(1))
    outcome = decide(snapshot, [register(2), Leave(public_key=public_key(1), signed=True)], 0.0)
    twice = Changes(outcome.changes.revision, 0, added=outcome.changes.added * 2, removed=outcome.changes.removed)
    with pytest.raises(Unavailable, match="cannot write to the database: UNIQUE constraint failed"):
        await store.write(twice, 0.0)
    assert (await store.reload()).snapshot.records == snapshot.records


async def test_a_full_disk_is_said_and_passes(store: Store) -> None:
    snapshot = await fill(store, register(1))
    newcomers = decide(snapshot, [register(seed, hostname="h" * 60) for seed in range(2, 600)], 0.0)
    async with store._engine.connect() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count={pages + 2}"))
    with pytest.raises(StorageFull, match="database or disk is full; make room"):
        await store.write(newcomers.changes, 0.0)
    assert (await store.reload()).snapshot.records == snapshot.records
    async with store._engine.connect() as connection:
        await connection.execute(text("PRAGMA max_page_count=1000000"))
    await store.write(newcomers.changes, 0.0)
    assert (await store.reload()).snapshot.records == newcomers.snapshot.records


async def spoilt(path: Path, statement: str) -> Store:
    """A database of one peer, changed by somebody."""
    made = await Store.open(path)
    await fill(made, register(1))
    async with made._engine.begin() as connection:
        await connection.execute(text(statement))
    return made


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE peers SET endpoints = '{'", r"is damaged: peer peer-\d+: .*; restore a backup"),
        ("UPDATE peers SET public_key = 'x'", r"is damaged: peer peer-\d+: a WireGuard key"),
        ("UPDATE peers SET number = 0", r"is damaged: peer peer-\d+: "),
        ("UPDATE mesh SET ipv4_network = 'x'", "is damaged: the mesh: "),
        ("INSERT INTO quarantine VALUES (1, 'x', 0)", "is damaged: the addresses: "),
    ],
)
async def test_what_is_damaged_is_named(tmp_path: Path, statement: str, says: str) -> None:
    store = await spoilt(tmp_path / "peers.db", statement)
    with pytest.raises(Damaged, match=says):
        await store.load(NETWORK, BIRTH, binding=False)
    await store.close()


async def test_an_endpoint_that_is_none_any_more_is_left_out(tmp_path: Path) -> None:
    store = await spoilt(tmp_path / "peers.db", """UPDATE peers SET endpoints = '["0.0.0.0:1","192.0.2.1:1"]'""")
    (record,) = (await store.load(NETWORK, BIRTH)).snapshot.records.values()
    assert [str(endpoint) for endpoint in record.peer.endpoints] == ["192.0.2.1:1"]
    await store.close()


async def test_a_database_that_is_gone_is_not_written(store: Store, tmp_path: Path) -> None:
    await fill(store, register(1))
    (tmp_path / "peers.db").rename(tmp_path / "moved.db")
    (tmp_path / "peers.db").touch()
    for work in (store.write(Changes(2, 0), 0.0), store.save_last_seen([]), store.revision()):
        with pytest.raises(Unavailable, match="was removed or replaced"):
            await work


async def test_more_is_removed_at_once_than_a_statement_has_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def with_usual_limit(*arguments: Any, **named: Any) -> sqlite3.Connection:
        # Distributions may build SQLite with a higher one.
        connection: sqlite3.Connection = connect(*arguments, **named)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
        return connection

    monkeypatch.setattr(sqlite3, "connect", with_usual_limit)
    store = await Store.open(tmp_path / "peers.db")
    many = 40_000
    await store.load(NETWORK, BIRTH)
    leases = tuple(Lease(number, public_key(1), 100.0) for number in range(1, many + 1))
    await store.write(Changes(1, 0, quarantined=leases), 0.0)
    assert len((await store.reload()).snapshot.pool.leases) == many
    released = tuple(lease.number for lease in leases)
    removed = tuple(PeerId(f"peer-{number:06}") for number in released)
    await store.write(Changes(2, 0, removed=removed, released=released), 0.0)
    assert not (await store.reload()).snapshot.pool.leases
    await store.close()

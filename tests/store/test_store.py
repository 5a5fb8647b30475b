"""The database holds what it was given, whole or not at all: the same on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import text

from tests.core.samples import observe, public_key, register, relay
from tests.core.test_catch_up import assert_same
from tests.core.test_registry import BATCHES
from tests.databases import ENGINES, Databases
from wireguard_mesh.core.commands import Command, DropRelay, Leave, PutRelay
from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.registry import Outcome, decide
from wireguard_mesh.core.snapshot import Changes, Snapshot
from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.store.faults import Damaged, StorageFull
from wireguard_mesh.store.location import Location
from wireguard_mesh.store.store import Birth, Store

NETWORK = IPv4Network("10.100.0.0/16")
OTHER = IPv4Network("10.200.0.0/24")
BIRTH = Birth("epoch1", bytes(5), public_key(1000))
HOUR = 3600.0


@asynccontextmanager
async def opened(location: Location) -> AsyncIterator[Store]:
    store = await Store.open(location)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(location: Location) -> AsyncIterator[Store]:
    async with opened(location) as one:
        yield one


async def commit(store: Store, base: Snapshot, *commands: Command, now: float = 50.0) -> Snapshot:
    """Have commands carried out at a time of our own, and written."""
    return (await store.commit(base, lambda found, _: decide(found, commands, now, quarantine=HOUR), 60.0)).snapshot


async def write(store: Store, base: Snapshot, changes: Changes) -> None:
    """Write rows that nobody decided."""
    await store.commit(base, lambda found, _: Outcome(found, changes, ()), 60.0)


async def fill(store: Store, *commands: Command) -> Snapshot:
    return await commit(store, (await store.load(NETWORK, BIRTH)).snapshot, *commands)


def leave(seed: int) -> Leave:
    return Leave(public_key=public_key(seed), signed=True)


async def test_a_new_database_has_a_mesh_of_its_own(store: Store) -> None:
    loaded = await store.load(NETWORK, BIRTH)
    assert loaded.snapshot.epoch == "epoch1"
    assert loaded.snapshot.network.ipv4 == NETWORK
    assert str(loaded.snapshot.network.ipv6) == "fd00::/64"
    assert (loaded.snapshot.revision, loaded.snapshot.records, loaded.last_seen) == (0, {}, {})


async def test_what_was_written_is_read_again(location: Location) -> None:
    async with opened(location) as store:
        snapshot = await fill(store, register(1, endpoints=("192.0.2.1:51820", "[2001:db8::1]:1")), register(2))
        snapshot = await commit(store, snapshot, leave(2), register(1, hostname="new"))
    async with opened(location) as again:
        loaded = await again.load(NETWORK, Birth("unused", bytes(5), BIRTH.server_public_key))
    assert_same(loaded.snapshot, snapshot)
    assert (loaded.snapshot.epoch, loaded.snapshot.revision, loaded.snapshot.sequence) == ("epoch1", 2, 2)
    assert loaded.snapshot.network == snapshot.network
    assert list(loaded.last_seen) == [public_key(1)]
    assert loaded.server_public_key == BIRTH.server_public_key


@pytest.mark.parametrize("engine", ENGINES)
@given(batches=BATCHES)
@settings(max_examples=15, deadline=None)
async def test_any_sequence_of_batches_is_stored(
    databases: Databases, engine: str, batches: list[tuple[list[Command], float]]
) -> None:
    async with opened(databases.new(engine)) as store:
        snapshot = (await store.load(NETWORK, BIRTH)).snapshot
        now = 0.0
        for batch, pause in batches:
            now += pause
            snapshot = await commit(store, snapshot, *batch, now=now)
        assert_same((await store.reload()).snapshot, snapshot)


async def test_old_tombstones_are_purged(store: Store) -> None:
    snapshot = await commit(store, await fill(store, register(1), register(2)), leave(1))
    await write(store, snapshot, Changes(3, 3, 2, purge=True))
    loaded = (await store.reload()).snapshot
    assert (loaded.tombstones, loaded.purged) == ({}, 2)


async def test_a_number_that_is_released_is_free_for_all(store: Store) -> None:
    snapshot = await commit(store, await fill(store, register(1), register(2)), leave(1))
    snapshot = await commit(store, snapshot, register(3), now=50.0 + 2 * HOUR)
    assert snapshot.record(public_key(3)).number == 1
    assert_same((await store.reload()).snapshot, snapshot)


async def test_last_seen_is_kept_without_a_revision(store: Store) -> None:
    snapshot = await fill(store, register(1), register(2))
    async with store._database.writing.begin() as connection:
        await connection.execute(text("UPDATE peers SET last_seen = 0"))
    await store.save_last_seen([(public_key(1), 99.0), (public_key(7), 1.0)], wall=109.0)
    await store.save_last_seen([], wall=109.0)
    silences = await store.silences(wall=109.0)
    assert silences[public_key(1)] == pytest.approx(10.0, abs=5.0)
    assert (await store.reload()).snapshot.sequence == snapshot.sequence
    # Another server may have heard it later.
    await store.save_last_seen([(public_key(1), 0.0)], wall=109.0)
    assert (await store.silences(wall=109.0))[public_key(1)] < 20.0


async def test_relays_are_kept_and_when_they_were_heard(store: Store) -> None:
    first = await fill(store, register(1), PutRelay(relay=relay(1)), PutRelay(relay=relay(2)))
    assert_same((await store.reload()).snapshot, first)
    second = await commit(store, first, DropRelay(id=relay(1).id), PutRelay(relay=relay(2, port=90)))
    assert_same((await store.reload()).snapshot, second)
    assert second.relays == (relay(2, port=90),)
    assert_same(await store.catch_up(first), second)
    async with store._database.writing.begin() as connection:
        await connection.execute(text("UPDATE relays SET last_seen = -1000"))
    assert (await store.silent_relays())[relay(2).id] > 900
    await store.save_relays_seen([relay(2).id, relay(3).id])
    await store.save_relays_seen([])
    silences = await store.silent_relays()
    assert list(silences) == [relay(2).id]
    assert silences[relay(2).id] == pytest.approx(0.0, abs=5.0)
    assert (await store.reload()).snapshot.sequence == second.sequence


async def test_what_relays_see_is_kept(store: Store) -> None:
    snapshot = await fill(store, register(1))
    snapshot = await commit(store, snapshot, observe(1, "192.0.2.9:7", nat=NatClass.HARD))
    kept = (await store.reload()).snapshot
    assert_same(kept, snapshot)
    assert kept.record(public_key(1)).peer.nat is NatClass.HARD


async def test_another_network_is_refused_while_peers_have_addresses_of_the_old_one(store: Store) -> None:
    await fill(store, register(1))
    with pytest.raises(
        Conflict, match=r"the 1 peers .* 10\.100\.0\.0/16, not of 10\.200\.0\.0/24; start with -network"
    ):
        await store.load(OTHER, BIRTH)
    kept = await store.load(OTHER, BIRTH, binding=False)
    assert kept.snapshot.network.ipv4 == NETWORK


async def test_an_empty_mesh_changes_its_network_and_its_epoch(store: Store) -> None:
    await commit(store, await fill(store, register(1)), leave(1))
    loaded = await store.load(OTHER, Birth("epoch2", bytes(5), BIRTH.server_public_key))
    assert (loaded.snapshot.network.ipv4, loaded.snapshot.epoch) == (OTHER, "epoch2")
    assert not loaded.snapshot.pool.leases


async def test_a_batch_that_fails_leaves_nothing_behind(store: Store) -> None:
    snapshot = await fill(store, register(1))
    changes = decide(snapshot, [register(2), leave(1)], 0.0).changes
    twice = Changes(changes.sequence, changes.revision, 0, added=changes.added * 2, removed=changes.removed)
    with pytest.raises(Unavailable, match=r"cannot write to the database: .*(UNIQUE|unique)") as caught:
        await write(store, snapshot, twice)
    assert "machine" not in str(caught.value)  # no values
    assert_same((await store.reload()).snapshot, snapshot)


async def test_a_full_disk_is_said_and_passes(tmp_path: Path) -> None:
    async with opened(tmp_path / "peers.db") as store:
        snapshot = await fill(store, register(1))
        newcomers = [register(seed, hostname="h" * 60) for seed in range(2, 600)]
        async with store._database.writing.connect() as connection:
            pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
            await connection.execute(text(f"PRAGMA max_page_count={pages + 2}"))
        with pytest.raises(StorageFull, match="database or disk is full; make room"):
            await commit(store, snapshot, *newcomers)
        assert_same((await store.reload()).snapshot, snapshot)
        async with store._database.writing.connect() as connection:
            await connection.execute(text("PRAGMA max_page_count=1000000"))
        snapshot = await commit(store, snapshot, *newcomers)
        assert_same((await store.reload()).snapshot, snapshot)


async def spoil(store: Store, statement: str) -> None:
    """A database of one peer, changed by somebody."""
    await fill(store, register(1))
    async with store._database.writing.begin() as connection:
        await connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE peers SET endpoints = '{'", r"is damaged: peer peer-\d+: .*; restore a backup"),
        ("UPDATE peers SET public_key = 'x'", r"is damaged: peer peer-\d+: a WireGuard key"),
        ("UPDATE peers SET number = 0", r"is damaged: peer peer-\d+: "),
        ("UPDATE mesh SET ipv4_network = 'x'", "is damaged: the mesh: "),
        ("INSERT INTO quarantine VALUES (1, 'x', 0, 0)", "is damaged: the addresses: "),
    ],
)
async def test_what_is_damaged_is_named(store: Store, statement: str, says: str) -> None:
    await spoil(store, statement)
    with pytest.raises(Damaged, match=says):
        await store.load(NETWORK, BIRTH, binding=False)


async def test_a_mesh_that_is_gone_is_damage(store: Store) -> None:
    await spoil(store, "DELETE FROM mesh")
    with pytest.raises(Damaged, match="restore a backup"):
        await store.reload()


async def test_an_endpoint_that_is_none_any_more_is_left_out(store: Store) -> None:
    await spoil(store, """UPDATE peers SET endpoints = '["0.0.0.0:1","192.0.2.1:1"]'""")
    (record,) = (await store.load(NETWORK, BIRTH)).snapshot.records.values()
    assert [str(endpoint) for endpoint in record.peer.endpoints] == ["192.0.2.1:1"]


async def test_a_file_that_is_gone_is_not_written(tmp_path: Path) -> None:
    async with opened(tmp_path / "peers.db") as store:
        snapshot = await fill(store, register(1))
        (tmp_path / "peers.db").rename(tmp_path / "moved.db")
        (tmp_path / "peers.db").touch()
        for work in (
            commit(store, snapshot, register(2)),
            store.save_last_seen([(public_key(1), 0.0)], 0.0),
            store.reload(),
        ):
            with pytest.raises(Unavailable, match="was removed or replaced"):
                await work


async def test_more_is_removed_at_once_than_a_statement_has_values(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def with_usual_limit(*arguments: Any, **named: Any) -> sqlite3.Connection:
        # Distributions may build SQLite with a higher one.
        connection: sqlite3.Connection = connect(*arguments, **named)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
        return connection

    monkeypatch.setattr(sqlite3, "connect", with_usual_limit)
    many = 40_000
    snapshot = (await store.load(NETWORK, BIRTH)).snapshot
    leases = tuple(Lease(number, public_key(1), 100.0) for number in range(1, many + 1))
    await write(store, snapshot, Changes(1, 1, 0, quarantined=leases))
    assert len((await store.reload()).snapshot.pool.leases) == many
    released = tuple(lease.number for lease in leases)
    removed = tuple(PeerId(f"peer-{number:06}") for number in released)
    await write(store, snapshot, Changes(2, 2, 0, removed=removed, released=released))
    assert not (await store.reload()).snapshot.pool.leases

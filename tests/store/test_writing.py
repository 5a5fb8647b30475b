"""Which rows a batch writes."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from sqlalchemy import Table, select

from tests.core.samples import public_key, register
from wireguard_mesh.core.commands import Command, Leave
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.store.location import Location
from wireguard_mesh.store.store import Birth, Store
from wireguard_mesh.store.tables import NOBODY, mesh, peers, quarantine, tombstones

BIRTH = Birth("epoch1", bytes(5), public_key(1000))


async def commit(store: Store, base: Snapshot, *commands: Command, now: float = 50.0) -> Snapshot:
    return (await store.commit(base, lambda found, _: decide(found, commands, now), 50.0)).snapshot


async def rows(store: Store, table: Table) -> list[Any]:
    async with store._database.reading.connect() as connection:
        return list((await connection.execute(select(table))).all())


async def test_each_row_says_which_batch_wrote_it(location: Location) -> None:
    store = await Store.open(location)
    base = (await store.load(IPv4Network("10.100.0.0/16"), BIRTH)).snapshot
    base = await commit(store, base, register(1, signed=False), register(2))
    base = await commit(store, base, register(1, signed=True))  # no peer sees it: no revision
    base = await commit(store, base, Leave(public_key=public_key(2), signed=True))
    base = await commit(store, base, register(3), now=1e9)  # takes the number that was in quarantine
    found = {row.public_key: (row.sequence, row.revision) for row in await rows(store, peers)}
    assert found == {public_key(1).to_base64(): (2, 1), public_key(3).to_base64(): (4, 3)}
    assert [(row.sequence, row.revision) for row in await rows(store, tombstones)] == [(3, 2)]
    assert [(row.sequence, row.public_key) for row in await rows(store, quarantine)] == [(4, NOBODY)]
    (row,) = await rows(store, mesh)
    assert (row.sequence, row.revision, row.server_public_key) == (4, 3, BIRTH.server_public_key.to_base64())
    await store.close()


async def test_a_batch_that_changes_nothing_writes_nothing_unless_it_is_to(location: Location) -> None:
    store = await Store.open(location)
    base = (await store.load(IPv4Network("10.100.0.0/16"), BIRTH)).snapshot
    base = await commit(store, base, register(1))
    assert await commit(store, base, register(1)) is base
    outcome = await store.commit(base, lambda found, _: decide(found, [], 0.0), 50.0, always=True)
    assert outcome.snapshot is base
    (row,) = await rows(store, mesh)
    assert (row.sequence, row.revision) == (1, 1)
    await store.close()

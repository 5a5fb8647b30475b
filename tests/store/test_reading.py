"""What is read is what was written, whole or since a sequence."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from sqlalchemy import text

from tests.core.samples import public_key, register
from tests.core.test_catch_up import assert_same
from wireguard_mesh.core.commands import Command, Leave
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.store import store as store_module
from wireguard_mesh.store.faults import Damaged
from wireguard_mesh.store.location import Location
from wireguard_mesh.store.store import Birth, Store

BIRTH = Birth("epoch1", bytes(5), public_key(1000))


async def filled(location: Location) -> tuple[Store, Snapshot]:
    store = await Store.open(location)
    base = (await store.load(IPv4Network("10.100.0.0/16"), BIRTH)).snapshot
    return store, await commit(store, base, register(1), register(2), register(3))


async def commit(store: Store, base: Snapshot, *commands: Command) -> Snapshot:
    return (await store.commit(base, lambda found, now: decide(found, commands, now), 0.0)).snapshot


async def test_one_that_is_behind_reads_only_what_changed(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    store, behind = await filled(location)
    ahead = await commit(store, behind, register(4), Leave(public_key=public_key(1), signed=True))
    ahead = await commit(store, ahead, register(2, signed=True, version="9"), register(3, hostname="new"))

    async def never(*_arguments: object) -> None:
        raise AssertionError("everything was read")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "read_whole", never)
        assert_same(await store.catch_up(behind), ahead)
        assert await store.catch_up(ahead) is ahead
    await store.close()


async def test_one_of_another_epoch_reads_everything(location: Location) -> None:
    store, before = await filled(location)
    async with store._database.writing.begin() as connection:
        await connection.execute(text("UPDATE mesh SET epoch = 'restored', sequence = 0"))
    after = await store.catch_up(before)
    assert (after.epoch, after.records) == ("restored", before.records)
    await store.close()
    # The batch of a server that did not hear of it is decided on it, too.
    again = await Store.open(location)
    assert (await commit(again, before, register(9))).epoch == "restored"
    await again.close()


@pytest.mark.parametrize(
    "row",
    ["INSERT INTO quarantine VALUES (9, 'x', 0, 2)", "UPDATE peers SET number = 3, sequence = 2 WHERE number = 1"],
)
async def test_what_contradicts_itself_is_damage(location: Location, row: str) -> None:
    store, before = await filled(location)
    async with store._database.writing.begin() as connection:
        await connection.execute(text("UPDATE mesh SET sequence = 2"))
        await connection.execute(text("DELETE FROM peers WHERE number = 3"))
        await connection.execute(text(row))
    with pytest.raises(Damaged, match="restore a backup"):
        await store.catch_up(before)
    await store.close()

"""The statements that write."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from itertools import islice
from typing import Any, Final

from sqlalchemy import Table, bindparam, delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.snapshot import Changes, Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.networks import ULA_PREFIX_LENGTH, ula_prefix
from wireguard_mesh.model.relays import RelayId
from wireguard_mesh.store.rows import peer_row, relay_row
from wireguard_mesh.store.tables import NOBODY, mesh, peers, quarantine, relays, tombstones

_MESH_ID: Final = 1
_EPOCH_LENGTH: Final = 8  # bytes
_ROWS_AT_ONCE: Final = 2_000  # a driver's time limit is for a statement with all its rows

# SQLAlchemy keeps plain column names for itself in an UPDATE of many rows.
_PREFIX: Final = "new_"
_CHANGING: Final = (
    *("hostname", "os", "endpoints", "mapped", "reflexive", "nat", "distances", "exit_node"),
    *("online", "signed", "version", "revision", "sequence"),
)
_UPDATE_LAST_SEEN: Final = (
    update(peers)
    .where(peers.c.public_key == bindparam("key"), peers.c.last_seen < bindparam("seen"))
    .values(last_seen=bindparam("seen"))
)
# Row by row: one statement takes 32,766 values at most, and more addresses can be released at once.
_DELETE_PEER: Final = delete(peers).where(peers.c.id == bindparam("gone"))
_DELETE_RELAY: Final = delete(relays).where(relays.c.id == bindparam("gone"))
_UPDATE_RELAY_SEEN: Final = update(relays).where(relays.c.id == bindparam("name")).values(last_seen=bindparam("seen"))
_DELETE_LEASE: Final = delete(quarantine).where(quarantine.c.number == bindparam("gone"))
_UPDATE_PEER: Final = (
    update(peers)
    .where(peers.c.id == bindparam(f"{_PREFIX}id"))
    .values({name: bindparam(_PREFIX + name) for name in _CHANGING})
)


def new_epoch() -> str:
    """A random name for a database's revisions: no client has one that it would take for another."""
    return os.urandom(_EPOCH_LENGTH).hex()


async def create_mesh(connection: AsyncConnection, network: IPv4Network, epoch: str, global_id: bytes) -> None:
    """The mesh's row in an empty database."""
    await _insert_mesh(connection, epoch, 0, 0, 0, str(network), str(ula_prefix(global_id)))


async def change_network(connection: AsyncConnection, network: IPv4Network, epoch: str) -> None:
    """Give a mesh without peers another network, and with it another epoch."""
    await connection.execute(delete(quarantine))
    await connection.execute(update(mesh).values(ipv4_network=str(network), epoch=epoch, sequence=mesh.c.sequence + 1))


async def write_identity(connection: AsyncConnection, public_key: PublicKey) -> None:
    """Remember whose database this is."""
    await connection.execute(update(mesh).values(server_public_key=public_key.to_base64()))


async def write_changes(connection: AsyncConnection, changes: Changes, now: float) -> None:
    """A batch. New peers were last seen `now`, in Unix seconds by the database's clock."""
    sequence = {"sequence": changes.sequence}
    # Removals first: a number or a key may pass from one row to another within a batch.
    if changes.removed:
        await connection.execute(_DELETE_PEER, [{"gone": peer_id} for peer_id in changes.removed])
    await _write_quarantine(connection, changes)
    if changes.added:
        added = [{**peer_row(record), **sequence, "last_seen": now} for record in changes.added]
        await connection.execute(insert(peers), added)
    if changes.changed:
        changed = [_named({**peer_row(record), **sequence}) for record in changes.changed]
        await connection.execute(_UPDATE_PEER, changed)
    if changes.purge:
        await connection.execute(delete(tombstones).where(tombstones.c.revision <= changes.purged))
    if changes.tombstones:
        graves = [{"id": peer_id, "revision": revision, **sequence} for peer_id, revision in changes.tombstones]
        await connection.execute(insert(tombstones), graves)
    await _write_relays(connection, changes, now)
    await connection.execute(
        update(mesh).values(sequence=changes.sequence, revision=changes.revision, purged=changes.purged)
    )


async def _write_relays(connection: AsyncConnection, changes: Changes, now: float) -> None:
    gone = {*changes.relays_dropped, *(relay.id for relay in changes.relays_put)}
    if not gone:
        return
    await connection.execute(_DELETE_RELAY, [{"gone": name} for name in gone])
    if changes.relays_put:
        await connection.execute(
            insert(relays), [{**relay_row(relay), "last_seen": now} for relay in changes.relays_put]
        )
    await connection.execute(update(mesh).values(relays_revision=changes.revision))


async def write_relays_seen(connection: AsyncConnection, names: Iterable[RelayId], now: float) -> None:
    """These relays were heard `now`, in Unix seconds by the database's clock."""
    rows = [{"name": name, "seen": now} for name in names]
    if rows:
        await connection.execute(_UPDATE_RELAY_SEEN, rows)


async def write_last_seen(connection: AsyncConnection, seen: Sequence[tuple[PublicKey, float]]) -> None:
    """When peers were heard, in Unix seconds by the database's clock; what is later there stays."""
    rows = [{"key": key.to_base64(), "seen": moment} for key, moment in seen]
    if rows:
        await connection.execute(_UPDATE_LAST_SEEN, rows)


async def write_whole(
    connection: AsyncConnection, snapshot: Snapshot, last_seen: dict[PublicKey, float], server_public_key: str
) -> None:
    """All of a mesh, into a database that has nothing."""
    await _insert_mesh(
        connection,
        snapshot.epoch,
        snapshot.sequence,
        snapshot.revision,
        snapshot.purged,
        str(snapshot.network.ipv4),
        str(snapshot.network.ipv6.supernet(new_prefix=ULA_PREFIX_LENGTH)),
        server_public_key,
        snapshot.relays_revision,
    )
    sequence = {"sequence": snapshot.sequence}
    await _insert_rows(
        connection,
        peers,
        (
            {**peer_row(record), **sequence, "last_seen": last_seen.get(key, 0.0)}
            for key, record in snapshot.records.items()
        ),
    )
    graves = ({"id": peer_id, "revision": died, **sequence} for peer_id, died in snapshot.tombstones.items())
    await _insert_rows(connection, tombstones, graves)
    leases = (_lease_row(lease, snapshot.sequence) for lease in snapshot.pool.leases.values())
    await _insert_rows(connection, quarantine, leases)
    await _insert_rows(connection, relays, ({**relay_row(relay), "last_seen": 0.0} for relay in snapshot.relays))


async def delete_whole(connection: AsyncConnection) -> None:
    """All rows of all tables."""
    for table in (peers, tombstones, quarantine, relays, mesh):
        await connection.execute(delete(table))


async def _insert_mesh(
    connection: AsyncConnection,
    epoch: str,
    sequence: int,
    revision: int,
    purged: int,
    ipv4_network: str,
    ipv6_prefix: str,
    server_public_key: str = "",
    relays_revision: int = 0,
) -> None:
    await connection.execute(
        insert(mesh).values(
            id=_MESH_ID,
            epoch=epoch,
            sequence=sequence,
            revision=revision,
            purged=purged,
            ipv4_network=ipv4_network,
            ipv6_prefix=ipv6_prefix,
            server_public_key=server_public_key,
            relays_revision=relays_revision,
        )
    )


async def _insert_rows(connection: AsyncConnection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    remaining = iter(rows)
    while chunk := list(islice(remaining, _ROWS_AT_ONCE)):
        await connection.execute(insert(table), chunk)


async def _write_quarantine(connection: AsyncConnection, changes: Changes) -> None:
    # A number that is released keeps its row, without an owner: other servers are to hear of it.
    leases = [_lease_row(lease, changes.sequence) for lease in changes.quarantined]
    leases += [
        {"number": number, "public_key": NOBODY, "until": 0.0, "sequence": changes.sequence}
        for number in changes.released
    ]
    if leases:
        await connection.execute(_DELETE_LEASE, [{"gone": lease["number"]} for lease in leases])
        await connection.execute(insert(quarantine), leases)


def _lease_row(lease: Lease, sequence: int) -> dict[str, Any]:
    return {
        "number": lease.number,
        "public_key": lease.public_key.to_base64(),
        "until": lease.until,
        "sequence": sequence,
    }


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {_PREFIX + name: row[name] for name in ("id", *_CHANGING)}

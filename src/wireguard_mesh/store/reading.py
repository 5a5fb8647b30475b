"""What a database holds: all of it, or what was written after a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from wireguard_mesh.core.catch_up import News
from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.store.faults import understood
from wireguard_mesh.store.rows import record_of, relay_of
from wireguard_mesh.store.tables import NOBODY, mesh, peers, quarantine, relays, tombstones


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a database holds: the mesh, and when each peer was last heard (Unix seconds, by the database's clock)."""

    snapshot: Snapshot
    last_seen: dict[PublicKey, float]
    server_public_key: PublicKey | None


async def read_head(connection: AsyncConnection, clock: ColumnElement[float], wall: float = 0.0) -> Any:
    """The mesh's one row, and as `now` the time by the database's `clock`; `wall` is ours. None if there is no mesh."""
    return (await connection.execute(select(mesh, clock.label("now")), {"wall": wall})).one_or_none()


async def read_whole(connection: AsyncConnection, row: Any, name: str) -> Loaded:
    """All, in a transaction that sees one state; `row` is the mesh's. Raises `Damaged`, with `name`."""
    rows = (await connection.execute(select(peers))).all()
    graves = (await connection.execute(select(tombstones))).all()
    leases = (await connection.execute(select(quarantine).where(quarantine.c.public_key != NOBODY))).all()
    relay_list = await _relays(connection, name)
    with understood(name, "the mesh"):
        network = MeshNetwork.within(IPv4Network(row.ipv4_network), IPv6Network(row.ipv6_prefix))
        identity = PublicKey.from_base64(row.server_public_key) if row.server_public_key else None
    records = _records(rows, network, name)
    with understood(name, "the addresses"):
        snapshot = Snapshot.of(
            epoch=row.epoch,
            network=network,
            sequence=row.sequence,
            revision=row.revision,
            purged=row.purged,
            records=records,
            tombstones={PeerId(grave.id): grave.revision for grave in graves},
            leases=[_lease(lease) for lease in leases],
            relays=relay_list,
            relays_revision=row.relays_revision,
        )
    seen = {record.peer.public_key: peer.last_seen for record, peer in zip(records, rows, strict=True)}
    return Loaded(snapshot, seen, identity)


async def read_news(connection: AsyncConnection, row: Any, snapshot: Snapshot, name: str) -> News:
    """What was written after the snapshot, in a transaction that sees one state. Raises `Damaged`, with `name`."""
    rows = await _after(connection, peers, snapshot.sequence)
    graves = await _after(connection, tombstones, snapshot.sequence)
    leases = await _after(connection, quarantine, snapshot.sequence)
    relay_list = None if row.relays_revision == snapshot.relays_revision else await _relays(connection, name)
    with understood(name, "the addresses"):
        return News(
            epoch=row.epoch,
            sequence=row.sequence,
            revision=row.revision,
            purged=row.purged,
            records=tuple(_records(rows, snapshot.network, name)),
            tombstones=tuple((PeerId(grave.id), grave.revision) for grave in graves),
            leases=tuple(_lease(lease) for lease in leases if lease.public_key != NOBODY),
            released=tuple(lease.number for lease in leases if lease.public_key == NOBODY),
            relays=relay_list,
            relays_revision=row.relays_revision,
        )


async def _after(connection: AsyncConnection, table: Table, sequence: int) -> Sequence[Row[Any]]:
    return (await connection.execute(select(table).where(table.c.sequence > sequence))).all()


async def _relays(connection: AsyncConnection, name: str) -> tuple[Relay, ...]:
    rows = (await connection.execute(select(relays))).all()
    with understood(name, "the relays"):
        return tuple(sorted(map(relay_of, rows), key=lambda relay: relay.id))


def _records(rows: Iterable[Any], network: MeshNetwork, name: str) -> list[Record]:
    records = []
    for row in rows:
        with understood(name, f"peer {row.id}"):
            records.append(record_of(row, network))
    return records


def _lease(row: Any) -> Lease:
    return Lease(row.number, PublicKey.from_base64(row.public_key), row.until)

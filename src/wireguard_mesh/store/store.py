"""The database: the mesh is read whole at the start, and from then on only written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.snapshot import Changes, Record, Snapshot
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname, PeerId
from wireguard_mesh.model.networks import MeshNetwork, ula_prefix
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.store import sqlite
from wireguard_mesh.store.faults import translated
from wireguard_mesh.store.migrate import migrate
from wireguard_mesh.store.tables import mesh, peers, quarantine, tombstones

_MESH_ID = 1


@dataclass(frozen=True, slots=True)
class Birth:
    """What a database is made with: a random name for its revisions, and 5 random bytes for its IPv6 range."""

    epoch: str
    global_id: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a database holds: the mesh, and when each peer was last heard (Unix seconds)."""

    snapshot: Snapshot
    last_seen: dict[PublicKey, float]


class Store:
    """One database. The caller holds its `DatabaseLock`; only one coroutine at a time may write."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Open the SQLite database at `path`, made if there is none, and bring it to this program's version.

        Raises `Conflict` if it is of a newer version, `Unavailable` if it cannot be read or written.
        """
        store = cls(sqlite.engine(path))
        try:
            with translated(f"open the database {path}"):
                async with store._engine.begin() as connection:
                    await connection.run_sync(migrate)
        except BaseException:
            await store.close()
            raise
        return store

    async def load(self, network: IPv4Network, birth: Birth, *, binding: bool = True) -> Loaded:
        """The mesh as it stands; made with `network` and `birth` in an empty database.

        `binding`: a database of another network is changed to this one if it has no peers, and else refused with
        `Conflict`; without it the database's own counts.
        """
        with translated("read the database"):
            async with self._engine.begin() as connection:
                row = (await connection.execute(select(mesh))).mappings().one_or_none()
                if row is None:
                    await _create_mesh(connection, network, birth)
                elif binding and network != IPv4Network(row["ipv4_network"]):
                    await _change_network(connection, row["ipv4_network"], network, birth)
        return await self.reload()

    async def reload(self) -> Loaded:
        """The mesh as the database has it. Raises `Unavailable`."""
        with translated("read the database"):
            async with self._engine.connect() as connection:
                row = (await connection.execute(select(mesh))).mappings().one()
                network = MeshNetwork.within(IPv4Network(row["ipv4_network"]), IPv6Network(row["ipv6_prefix"]))
                rows = (await connection.execute(select(peers))).all()
                graves = (await connection.execute(select(tombstones))).all()
                leases = (await connection.execute(select(quarantine))).all()
        records = [_record(peer, network) for peer in rows]
        snapshot = Snapshot.of(
            epoch=row["epoch"],
            network=network,
            revision=row["revision"],
            purged=row["purged"],
            records=records,
            tombstones={PeerId(grave.id): grave.revision for grave in graves},
            leases=[Lease(lease.number, PublicKey.from_base64(lease.public_key), lease.until) for lease in leases],
        )
        seen = {record.peer.public_key: peer.last_seen for record, peer in zip(records, rows, strict=True)}
        return Loaded(snapshot, seen)

    async def revision(self) -> int:
        """The revision that the database has: after a failed write, whether it was one. Raises `Unavailable`."""
        with translated("read the database"):
            async with self._engine.connect() as connection:
                found: int = (await connection.execute(select(mesh.c.revision))).scalar_one()
                return found

    async def write(self, changes: Changes, heard: float) -> None:
        """Make a batch durable: all of it or nothing. New peers were last seen at `heard`.

        Raises `StorageFull` or `Unavailable`.
        """
        with translated("write to the database"):
            async with self._engine.begin() as connection:
                await _write(connection, changes, heard)

    async def save_last_seen(self, seen: Iterable[tuple[PublicKey, float]]) -> None:
        """Keep when peers were last heard. Raises `StorageFull` or `Unavailable`."""
        rows = [{"key": key.to_base64(), "seen": wall} for key, wall in seen]
        if not rows:
            return
        statement = update(peers).where(peers.c.public_key == bindparam("key")).values(last_seen=bindparam("seen"))
        with translated("write to the database"):
            async with self._engine.begin() as connection:
                await connection.execute(statement, rows)

    async def close(self) -> None:
        """Let go of the file."""
        await self._engine.dispose()


async def _create_mesh(connection: AsyncConnection, network: IPv4Network, birth: Birth) -> None:
    row = {
        "id": _MESH_ID,
        "epoch": birth.epoch,
        "revision": 0,
        "purged": 0,
        "ipv4_network": str(network),
        "ipv6_prefix": str(ula_prefix(birth.global_id)),
    }
    await connection.execute(insert(mesh).values(row))


async def _change_network(connection: AsyncConnection, standing: str, wanted: IPv4Network, birth: Birth) -> None:
    count = (await connection.execute(select(func.count()).select_from(peers))).scalar_one()
    if count:
        raise Conflict(
            f"the {count} peers of this database have addresses of {standing}, not of {wanted}",
            f"start with -network {standing}, or with another database by -db (all clients then register anew)",
        )
    await connection.execute(delete(quarantine))
    await connection.execute(update(mesh).values(ipv4_network=str(wanted), epoch=birth.epoch))


def _record(row: Any, network: MeshNetwork) -> Record:
    peer = Peer(
        id=PeerId(row.id),
        public_key=PublicKey.from_base64(row.public_key),
        hostname=Hostname(row.hostname),
        os=row.os,
        ipv4=network.ipv4_address(row.number),
        ipv6=network.ipv6_address(row.number),
        endpoints=tuple(Endpoint.parse(text) for text in msgspec.json.decode(row.endpoints, type=list[str])),
        exit_node=row.exit_node,
        online=row.online,
        revision=row.revision,
    )
    return Record(peer=peer, number=row.number, signed=row.signed, version=row.version, created=row.created)


def _peer_row(record: Record) -> dict[str, Any]:
    peer = record.peer
    return {
        "id": peer.id,
        "public_key": peer.public_key.to_base64(),
        "number": record.number,
        "hostname": peer.hostname,
        "os": peer.os,
        "endpoints": msgspec.json.encode([str(endpoint) for endpoint in peer.endpoints]).decode(),
        "exit_node": peer.exit_node,
        "online": peer.online,
        "signed": record.signed,
        "version": record.version,
        "revision": peer.revision,
        "created": record.created,
    }


async def _write(connection: AsyncConnection, changes: Changes, heard: float) -> None:
    # Removals first: a number or a key may pass from one row to another within a batch.
    if changes.removed:
        await connection.execute(delete(peers).where(peers.c.id.in_(changes.removed)))
    if changes.released or changes.quarantined:
        numbers = [*changes.released, *(lease.number for lease in changes.quarantined)]
        await connection.execute(delete(quarantine).where(quarantine.c.number.in_(numbers)))
    if changes.quarantined:
        rows = [
            {"number": lease.number, "public_key": lease.public_key.to_base64(), "until": lease.until}
            for lease in changes.quarantined
        ]
        await connection.execute(insert(quarantine), rows)
    if changes.added:
        added = [{**_peer_row(record), "last_seen": heard} for record in changes.added]
        await connection.execute(insert(peers), added)
    if changes.changed:
        await connection.execute(_UPDATE_PEER, [_named(_peer_row(record)) for record in changes.changed])
    if changes.purge:
        await connection.execute(delete(tombstones).where(tombstones.c.revision <= changes.purged))
    if changes.tombstones:
        graves = [{"id": peer_id, "revision": revision} for peer_id, revision in changes.tombstones]
        await connection.execute(insert(tombstones), graves)
    await connection.execute(update(mesh).values(revision=changes.revision, purged=changes.purged))


# SQLAlchemy keeps plain column names for itself in an UPDATE of many rows.
_PREFIX = "new_"
_CHANGING = ("hostname", "os", "endpoints", "exit_node", "online", "signed", "version", "revision")
_UPDATE_PEER = (
    update(peers)
    .where(peers.c.id == bindparam(f"{_PREFIX}id"))
    .values({name: bindparam(_PREFIX + name) for name in _CHANGING})
)


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {_PREFIX + name: row[name] for name in ("id", *_CHANGING)}

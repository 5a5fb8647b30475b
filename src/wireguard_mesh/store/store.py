"""The database: the mesh is read whole at the start, and from then on only written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wireguard_mesh.core.ipam import Lease
from wireguard_mesh.core.snapshot import Changes, Snapshot
from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork, ula_prefix
from wireguard_mesh.store import sqlite
from wireguard_mesh.store.faults import translated, understood
from wireguard_mesh.store.migrate import migrate
from wireguard_mesh.store.rows import peer_row, record_of
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

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._file = sqlite.file_of(path)

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Open the SQLite database at `path`, made if there is none, and bring it to this program's version.

        Raises `Conflict` if it is of a newer version or another program's, `Unavailable` if it cannot be read or
        written.
        """
        sqlite.refuse_foreign(path)
        store = cls(sqlite.engine(path), path)
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
                elif binding and str(network) != row["ipv4_network"]:
                    await _change_network(connection, row["ipv4_network"], network, birth)
        return await self.reload()

    async def reload(self) -> Loaded:
        """The mesh as the database has it. Raises `Damaged`, `Unavailable`."""
        with translated("read the database"):
            async with self._engine.connect() as connection:
                row = (await connection.execute(select(mesh))).mappings().one()
                rows = (await connection.execute(select(peers))).all()
                graves = (await connection.execute(select(tombstones))).all()
                leases = (await connection.execute(select(quarantine))).all()
        with understood(self._path, "the mesh"):
            network = MeshNetwork.within(IPv4Network(row["ipv4_network"]), IPv6Network(row["ipv6_prefix"]))
        records = []
        for peer in rows:
            with understood(self._path, f"peer {peer.id}"):
                records.append(record_of(peer, network))
        with understood(self._path, "the addresses"):
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
        self._check_place()
        with translated("read the database"):
            async with self._engine.connect() as connection:
                found: int = (await connection.execute(select(mesh.c.revision))).scalar_one()
                return found

    async def write(self, changes: Changes, heard: float, seen: Iterable[tuple[PublicKey, float]] = ()) -> None:
        """Make a batch durable: all of it or nothing. New peers were last seen at `heard`, or as `seen` has it.

        Raises `StorageFull` or `Unavailable`.
        """
        self._check_place()
        with translated("write to the database"):
            async with self._engine.begin() as connection:
                await _write(connection, changes, heard)
                await _write_last_seen(connection, seen)

    async def save_last_seen(self, seen: Iterable[tuple[PublicKey, float]]) -> None:
        """Keep when peers were last heard. Raises `StorageFull` or `Unavailable`."""
        self._check_place()
        with translated("write to the database"):
            async with self._engine.begin() as connection:
                await _write_last_seen(connection, seen)

    def _check_place(self) -> None:
        # SQLite would go on writing into a file that nobody finds any more.
        if sqlite.file_of(self._path) != self._file:
            raise Unavailable(
                f"the database {self._path} was removed or replaced", "restart the server with the right one in place"
            )

    async def close(self) -> None:
        """Let go of the file."""
        await self._engine.dispose()


async def _write_last_seen(connection: AsyncConnection, seen: Iterable[tuple[PublicKey, float]]) -> None:
    rows = [{"key": key.to_base64(), "seen": wall} for key, wall in seen]
    if rows:
        await connection.execute(_UPDATE_LAST_SEEN, rows)


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


async def _write(connection: AsyncConnection, changes: Changes, heard: float) -> None:
    # Removals first: a number or a key may pass from one row to another within a batch.
    if changes.removed:
        await connection.execute(_DELETE_PEER, [{"gone": peer_id} for peer_id in changes.removed])
    if changes.released or changes.quarantined:
        numbers = [*changes.released, *(lease.number for lease in changes.quarantined)]
        await connection.execute(_DELETE_LEASE, [{"gone": number} for number in numbers])
    if changes.quarantined:
        rows = [
            {"number": lease.number, "public_key": lease.public_key.to_base64(), "until": lease.until}
            for lease in changes.quarantined
        ]
        await connection.execute(insert(quarantine), rows)
    if changes.added:
        added = [{**peer_row(record), "last_seen": heard} for record in changes.added]
        await connection.execute(insert(peers), added)
    if changes.changed:
        await connection.execute(_UPDATE_PEER, [_named(peer_row(record)) for record in changes.changed])
    if changes.purge:
        await connection.execute(delete(tombstones).where(tombstones.c.revision <= changes.purged))
    if changes.tombstones:
        graves = [{"id": peer_id, "revision": revision} for peer_id, revision in changes.tombstones]
        await connection.execute(insert(tombstones), graves)
    await connection.execute(update(mesh).values(revision=changes.revision, purged=changes.purged))


# SQLAlchemy keeps plain column names for itself in an UPDATE of many rows.
_PREFIX = "new_"
_CHANGING = ("hostname", "os", "endpoints", "exit_node", "online", "signed", "version", "revision")
_UPDATE_LAST_SEEN = update(peers).where(peers.c.public_key == bindparam("key")).values(last_seen=bindparam("seen"))
# Row by row: one statement takes 32,766 values at most, and more addresses can be released at once.
_DELETE_PEER = delete(peers).where(peers.c.id == bindparam("gone"))
_DELETE_LEASE = delete(quarantine).where(quarantine.c.number == bindparam("gone"))
_UPDATE_PEER = (
    update(peers)
    .where(peers.c.id == bindparam(f"{_PREFIX}id"))
    .values({name: bindparam(_PREFIX + name) for name in _CHANGING})
)


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {_PREFIX + name: row[name] for name in ("id", *_CHANGING)}

"""The database: the mesh is read whole at the start, and from then on only what others wrote.

A batch is one transaction: lock, catch up with what other servers wrote, decide, write, tell the others, commit. A
write whose acknowledgement was lost is found by the next one in the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from wireguard_mesh.core.catch_up import can_catch_up, catch_up
from wireguard_mesh.core.registry import Outcome
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import RelayId
from wireguard_mesh.store.access import prepare, reading, transaction
from wireguard_mesh.store.database import Changed, Database, Head, Lost, open_database
from wireguard_mesh.store.faults import Damaged, understood
from wireguard_mesh.store.location import Location
from wireguard_mesh.store.reading import Loaded, read_head, read_news, read_whole
from wireguard_mesh.store.tables import peers, relays
from wireguard_mesh.store.writing import (
    change_network,
    create_mesh,
    write_changes,
    write_identity,
    write_last_seen,
    write_relays_seen,
)

_FLUSHED_AT_ONCE: Final = 500  # peers, while other servers wait

Decide = Callable[[Snapshot, float], Outcome]


@dataclass(frozen=True, slots=True)
class Birth:
    """What a database is made with: a random name for its revisions, 5 random bytes for its IPv6 range, and the public
    key of its server, which it remembers."""

    epoch: str
    global_id: bytes
    server_public_key: PublicKey


class Store:
    """One database. For a file, the caller holds its `DatabaseLock`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Where a database of our own stands for certain, so that it need not be asked. None during each write, and
        # after one that failed, maybe after it reached the disk.
        self._written: Head | None = None

    @classmethod
    async def open(cls, location: Location) -> Store:
        """Open a database, made if it is a file and there is none, and bring it to this program's version.

        Raises `Conflict` if it is of a newer version or another program's, `Unavailable` if it cannot be read or
        written.
        """
        store = cls(open_database(location))
        try:
            await prepare(store._database)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def shared(self) -> bool:
        """Whether other servers may write, too."""
        return self._database.shared

    @property
    def term(self) -> int:
        """Not 0 as long as this server is to look for silent peers; another number each time it becomes the one."""
        return self._database.term

    async def load(self, network: IPv4Network, birth: Birth, *, binding: bool = True) -> Loaded:
        """The mesh as it stands; made with `network` and `birth` in an empty database.

        `binding`: a database of another network is changed to this one if it has no peers, and else refused with
        `Conflict`; without it the database's own counts. `Conflict` also for a shared database of a server with
        another key: clients know a mesh by its key.
        """
        async with self._transaction("read the database") as connection:
            row = await read_head(connection, self._database.clock)
            if row is None:
                await create_mesh(connection, network, birth.epoch, birth.global_id)
                row = await read_head(connection, self._database.clock)
            elif binding and str(network) != row.ipv4_network:
                await _refuse_peers(connection, row.ipv4_network, network)
                await change_network(connection, network, birth.epoch)
                await self._database.announce(connection, Head(birth.epoch, row.sequence + 1))
            await self._identify(connection, row.server_public_key, birth.server_public_key)
        return await self.reload()

    async def reload(self) -> Loaded:
        """All that the database has, as it is at one moment. Raises `Damaged`, `Unavailable`."""
        async with reading(self._database) as connection:
            return await read_whole(connection, await self._mesh_row(connection), self._database.name)

    async def commit(
        self,
        base: Snapshot,
        decide: Decide,
        wall: float,
        *,
        always: bool = False,
        seen: Sequence[tuple[PublicKey, float]] = (),
    ) -> Outcome:
        """Decide a batch on what the database has now, and make it durable: all of it or nothing.

        `decide` gets `base`, or what followed it, and the time by the database's clock. `wall`: the time by ours.
        `always`: write also if nothing changes, to see whether that succeeds. `seen` as for `last_seen` of `Loaded`.
        Raises `StorageFull`, `Unavailable`, `Damaged`; the batch may be durable all the same: the next `commit` or
        `catch_up` shows it.
        """
        now = wall
        outcome = None
        if not always and self._written == Head(base.epoch, base.sequence):
            outcome = decide(base, now)
            if outcome.changes.is_empty:
                return outcome
        async with self._transaction("write to the database") as connection:
            if outcome is None:
                row = await self._mesh_row(connection, wall)
                now = row.now
                outcome = decide(await self._caught_up(connection, row, base), now)
            if always or not outcome.changes.is_empty:
                await write_changes(connection, outcome.changes, now)
                await write_last_seen(connection, seen)
            head = Head(outcome.snapshot.epoch, outcome.snapshot.sequence)
            if not outcome.changes.is_empty:
                await self._database.announce(connection, head)
        if not self.shared:
            self._written = head
        return outcome

    async def catch_up(self, base: Snapshot) -> Snapshot:
        """What the database has now; `base` itself if nothing was written since. Raises `Damaged`, `Unavailable`."""
        async with reading(self._database) as connection:
            return await self._caught_up(connection, await self._mesh_row(connection), base)

    async def save_last_seen(self, seen: Sequence[tuple[PublicKey, float]], wall: float) -> None:
        """Keep when peers were last heard, by our clock, which says `wall` now. Raises `StorageFull`, `Unavailable`."""
        for start in range(0, len(seen), _FLUSHED_AT_ONCE):
            async with self._transaction("write to the database") as connection:
                ahead = (await self._mesh_row(connection, wall)).now - wall
                chunk = seen[start : start + _FLUSHED_AT_ONCE]
                await write_last_seen(connection, [(key, moment + ahead) for key, moment in chunk])

    async def silences(self, wall: float) -> dict[PublicKey, float]:
        """For how many seconds each peer was not heard by any server, as far as they kept it. Raises `Unavailable`."""
        silence = self._database.clock - peers.c.last_seen
        async with reading(self._database) as connection:
            rows = await connection.execute(select(peers.c.public_key, silence.label("silence")), {"wall": wall})
        with understood(self._database.name, "the peers"):
            return {PublicKey.from_base64(row.public_key): row.silence for row in rows}

    async def save_relays_seen(self, names: Sequence[RelayId]) -> None:
        """These relays were heard just now. Raises `StorageFull`, `Unavailable`."""
        async with self._transaction("write to the database") as connection:
            await write_relays_seen(connection, names, (await self._mesh_row(connection)).now)

    async def silent_relays(self) -> dict[RelayId, float]:
        """For how many seconds each relay was not heard by any server, as far as they kept it. Raises `Unavailable`."""
        silence = self._database.clock - relays.c.last_seen
        async with reading(self._database) as connection:
            rows = await connection.execute(select(relays.c.id, silence.label("silence")), {"wall": 0.0})
        return {RelayId(row.id): row.silence for row in rows}

    async def follow(self, changed: Changed, lost: Lost) -> None:
        """Call `changed` whenever another server may have written, and `lost`; returns only if nobody else can."""
        await self._database.follow(changed, lost)

    async def close(self) -> None:
        """Let go of the file, or of all connections."""
        await self._database.writing.dispose()

    @asynccontextmanager
    async def _transaction(self, what: str) -> AsyncIterator[AsyncConnection]:
        self._written = None
        async with transaction(self._database, what) as connection:
            yield connection

    async def _mesh_row(self, connection: AsyncConnection, wall: float = 0.0) -> Any:
        """The mesh's row, as of `read_head`. Raises `Damaged` if there is none any more."""
        row = await read_head(connection, self._database.clock, wall)
        if row is None:
            raise Damaged(f"the database {self._database.name} has no mesh any more", "restore a backup")
        return row

    async def _caught_up(self, connection: AsyncConnection, row: Any, base: Snapshot) -> Snapshot:
        if (row.epoch, row.sequence) == (base.epoch, base.sequence):
            return base
        name = self._database.name
        if not can_catch_up(base, row.epoch, row.sequence, row.purged):
            return (await read_whole(connection, row, name)).snapshot
        news = await read_news(connection, row, base, name)
        with understood(name, "the addresses"):
            return catch_up(base, news)

    async def _identify(self, connection: AsyncConnection, known: str, ours: PublicKey) -> None:
        if known == ours.to_base64():
            return
        if known and self._database.shared:
            raise Conflict(
                f"the database {self._database.name} belongs to a server with the public key {known}",
                "all servers of a database have one key: copy server.json of the first one here",
            )
        await write_identity(connection, ours)


async def _refuse_peers(connection: AsyncConnection, standing: str, wanted: IPv4Network) -> None:
    count = (await connection.execute(select(func.count()).select_from(peers))).scalar_one()
    if count:
        raise Conflict(
            f"the {count} peers of this database have addresses of {standing}, not of {wanted}",
            f"start with -network {standing}, or with another database by -db (all clients then register anew)",
        )

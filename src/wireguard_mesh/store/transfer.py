"""Whole databases: copied from one engine to the other, backed up, restored.

What is written is whole or not there: a new file gets its name when it is complete, and what goes into a database goes
there in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, Final, TypeVar

from wireguard_mesh.model.errors import Conflict, InvalidValue, NotFound
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.store.access import prepare, reading, transaction
from wireguard_mesh.store.database import Database, Head
from wireguard_mesh.store.files import (
    has_content,
    is_free,
    make_folder,
    move_aside,
    new_file,
    refuse_standing,
    take_image,
    working_folder,
)
from wireguard_mesh.store.location import Location, PostgresUrl
from wireguard_mesh.store.lock import DatabaseLock
from wireguard_mesh.store.migrate import is_current
from wireguard_mesh.store.reading import Loaded, read_head, read_whole
from wireguard_mesh.store.sqlite import SqliteDatabase
from wireguard_mesh.store.writing import delete_whole, new_epoch, write_whole

if TYPE_CHECKING:
    from wireguard_mesh.store.postgres import PostgresDatabase

T = TypeVar("T")

_UNREACHABLE: Final = "see whether the database server runs, and whom it lets in"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, where what stood before is kept, and whether the backup is another server's."""

    whole: Loaded
    kept: Path | None
    foreign: PublicKey | None


async def copy(source: Location, destination: Location) -> Loaded:
    """Write all that one database has to another one, which has nothing. Clients do not notice.

    Raises `Conflict` if a server serves the source, or the destination has something; `NotFound` if the source has
    nothing; `InvalidValue`, `Unavailable`.
    """
    if source == destination:
        raise InvalidValue(f"{source} cannot be copied to itself", "name two databases")
    if not isinstance(source, PostgresUrl) and not has_content(source):
        raise _nothing_in(source)
    async with _alone(source):
        whole = await _something(source)
        if isinstance(destination, PostgresUrl):
            await _write(destination, whole)
        else:
            refuse_standing(destination)
            with DatabaseLock(destination):
                await _write_file(destination, whole)
    return whole


async def back_up(location: Location, file: Path, *, replacing: bool = False) -> Loaded:
    """Write all that a database has to a file, a SQLite database. A server may use the database meanwhile.

    `replacing`: also over a file that stands. Raises `Conflict`, `NotFound`, `InvalidValue`, `Unavailable`.
    """
    if file == location:
        raise InvalidValue(f"{file} is the database itself", "name another file for the backup")
    refuse_standing(file, replacing=replacing)
    whole = await _something(location)
    await _write_file(file, whole, replacing=replacing)
    return whole


async def restore(file: Path, location: Location, *, ours: PublicKey, force: bool, kept: Path) -> Restored:
    """Write what a file of `back_up` has to a database that no server serves, in a new epoch.

    `ours` is the key of the server that is to use it. `force`: also over peers, which are backed up to `kept` before,
    and in place of a file that cannot be read, which is then renamed to `kept`. Raises as `copy`.
    """
    if file == location:
        raise InvalidValue(f"{file} is the database itself", "name the file of a backup")
    whole = await _something(file)
    foreign = whole.server_public_key if whole.server_public_key not in {None, ours} else None
    # Whose it is, is then for the server to say that is started next: maybe its server.json is restored, too.
    restored = replace(whole, server_public_key=None) if foreign else whole
    if not isinstance(location, PostgresUrl):
        make_folder(location.parent)
    async with _alone(location):
        is_kept = await _keep(location, kept, force=force)
        if isinstance(location, PostgresUrl) or not is_free(location):
            await _write(location, restored, epoch=new_epoch())
        else:  # so that nothing is left of it if there is no room
            await _write_file(location, restored, epoch=new_epoch())
    return Restored(restored, kept if is_kept else None, foreign)


async def _keep(location: Location, kept: Path, *, force: bool) -> bool:
    try:
        standing = await _read(location)
    except InvalidValue as error:
        if isinstance(location, PostgresUrl):
            raise
        if not force:
            raise InvalidValue(error.message, "with -force it is kept aside, and the backup takes its place") from None
        move_aside(location, kept)
        return True
    if standing is None or not standing.snapshot.records:
        return False
    if not force:
        raise Conflict(
            f"the database {location} has peers: {len(standing.snapshot.records)}",
            "with -force they are backed up, and the restored ones take their place",
        )
    await _write_file(kept, standing)
    return True


@asynccontextmanager
async def _alone(location: Location) -> AsyncIterator[None]:
    """No server serves a database until the end of the block. Raises `Conflict` if one does, `Unavailable`."""
    if isinstance(location, PostgresUrl):
        async with _postgres(location).alone():
            yield
        return
    lock = DatabaseLock(location)
    try:
        lock.acquire()
    except Conflict as error:
        raise Conflict(error.message, "stop it first: what it changes meanwhile would be lost") from None
    try:
        yield
    finally:
        lock.release()


async def _something(location: Location) -> Loaded:
    whole = await _read(location)
    if whole is None:
        raise _nothing_in(location)
    return whole


def _nothing_in(location: Location) -> NotFound:
    return NotFound(f"there is no mesh in {location}", "name the database that a vpn-server has used")


async def _read(location: Location) -> Loaded | None:
    """All that a database has; it is not changed, not even to this program's version. None if it has no mesh."""
    if not isinstance(location, PostgresUrl):
        return await _read_file(location)
    database = _open(location)
    try:
        async with reading(database) as connection:
            await connection.run_sync(database.refuse_foreign)
            is_there = await connection.run_sync(is_current)
        return await _contents(database) if is_there else None
    finally:
        await database.writing.dispose()


async def _read_file(path: Path) -> Loaded | None:
    if not has_content(path):
        return None
    with working_folder(Path(gettempdir()), f"read the database {path}") as folder:
        image = folder / "image.db"
        take_image(path, image)
        return await _to_its_end(_read_image(image, str(path)))


async def _read_image(image: Path, name: str) -> Loaded | None:
    database = SqliteDatabase(image, name)
    try:
        await prepare(database)
        return await _contents(database)
    finally:
        await database.writing.dispose()


async def _contents(database: Database) -> Loaded | None:
    async with reading(database) as connection:
        row = await read_head(connection, database.clock)
        return None if row is None else await read_whole(connection, row, database.name)


def _open(location: Location) -> Database:
    return _postgres(location) if isinstance(location, PostgresUrl) else SqliteDatabase(location)


def _postgres(url: PostgresUrl) -> PostgresDatabase:
    # Imported only when it is used: it is larger than all the rest of the store.
    from wireguard_mesh.store.postgres import PostgresDatabase

    return PostgresDatabase(url, _UNREACHABLE)


async def _write(location: Location, whole: Loaded, epoch: str | None = None) -> None:
    """Write to a database that has no mesh; with an `epoch`, also in place of one."""
    await _write_to(_open(location), whole, epoch)


async def _write_to(database: Database, whole: Loaded, epoch: str | None = None) -> None:
    try:
        await prepare(database)
        await _fill(database, whole, epoch)
    finally:
        await database.writing.dispose()


async def _fill(database: Database, whole: Loaded, epoch: str | None = None) -> None:
    snapshot = whole.snapshot if epoch is None else replace(whole.snapshot, epoch=epoch)
    identity = whole.server_public_key.to_base64() if whole.server_public_key else ""
    async with transaction(database, f"write the database {database.name}") as connection:
        if epoch is not None:
            await delete_whole(connection)
        elif await read_head(connection, database.clock) is not None:
            raise Conflict(f"the database {database.name} is not empty", "name an empty one")
        await write_whole(connection, snapshot, whole.last_seen, identity)
        await database.announce(connection, Head(snapshot.epoch, snapshot.sequence))


async def _write_file(path: Path, whole: Loaded, epoch: str | None = None, *, replacing: bool = False) -> None:
    with new_file(path, replacing=replacing) as made:
        await _to_its_end(_write_to(SqliteDatabase(made, name=str(path)), whole, epoch))


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Also if it is cancelled: SQLite works in a thread of its own, from under which no folder may be taken."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise

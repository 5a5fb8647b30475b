"""SQLite's own: how its files are opened. Everything else is the same for every database."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Float, bindparam, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.store.database import Changed, Head, Lost

_BUSY_SECONDS: Final = 2.0  # nobody else is to hold the database; at the end no longer can be waited
_PRIVATE: Final = 0o600
_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # in WAL mode NORMAL may lose the last transactions with the power
    f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}",
    "PRAGMA foreign_keys=ON",
)


class SqliteDatabase:
    """A file, of one server: whoever opens it holds its `DatabaseLock`."""

    shared = False
    hint = "look at the disk and the rights of the database"
    faults: tuple[type[Exception], ...] = ()
    clock = bindparam("wall", type_=Float())
    term = 1

    def __init__(self, path: Path, name: str = "") -> None:
        """`name`: by what people know it, if not by its path.

        Raises `Conflict` for another program's database, `Unavailable` for a place that cannot be written.
        """
        self.name = name or str(path)
        refuse_foreign(path, self.name)
        self._path = path
        self.writing = self.reading = engine(path)
        self._file = file_of(path)

    def check(self) -> None:
        """Raise `Unavailable` if the file is not the one that was opened."""
        # SQLite would go on writing into a file that nobody finds any more.
        if file_of(self._path) != self._file:
            raise Unavailable(
                f"the database {self._path} was removed or replaced", "restart the server with the right one in place"
            )

    def refuse_foreign(self, connection: Connection) -> None:
        """Done already, without writing a byte."""

    async def lock(self, connection: AsyncConnection) -> None:
        """Each of its transactions begins with SQLite's own lock."""

    async def announce(self, connection: AsyncConnection, head: Head) -> None:
        """There is nobody to tell."""

    async def follow(self, changed: Changed, lost: Lost) -> None:
        """Nobody else writes."""


def engine(path: Path) -> AsyncEngine:
    """An engine of one connection. The file is made for its owner only; SQLite gives `-wal` and `-shm` the same mode.

    Raises `Unavailable`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        try:
            # Nobody's device is to get another mode, be it named by mistake.
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unavailable(f"{path} is no regular file", "choose another place with -db")
            os.fchmod(descriptor, _PRIVATE)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(
            f"cannot write the database {path}: {error.strerror}", "choose a place of yours with -db"
        ) from None
    made = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": _BUSY_SECONDS},
    )
    event.listen(made.sync_engine, "connect", _prepare)
    event.listen(made.sync_engine, "begin", _begin)
    return made


def file_of(path: Path) -> tuple[int, int] | None:
    """Which file a path names now; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def refuse_foreign(path: Path, name: str) -> None:
    """Raise `Conflict` for a database of another program, before anything of it is touched."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return  # who opens it says why
    if tables and "alembic_version" not in tables:
        raise Conflict(f"{name} is a database of another program", "give vpn-server its own with -db")


def _prepare(connection: Any, _record: Any) -> None:
    # The driver would begin transactions by itself, but not for changes of tables: those could stay half done.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

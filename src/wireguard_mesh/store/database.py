"""What differs from one database to another: SQLite and PostgreSQL each have one file that does this."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from sqlalchemy import ColumnElement, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.store.location import Location, PostgresUrl


class Head(NamedTuple):
    """Where a database stands: how many batches were written, in which epoch."""

    epoch: str
    sequence: int


# Called with where the database stands now; None if that is not known, and is to be looked up.
Changed = Callable[[Head | None], None]
# Called once for each time that the database cannot be reached any more.
Lost = Callable[[Unavailable], None]


class Database(Protocol):
    """One database, and how to speak with it."""

    @property
    def name(self) -> str:
        """For people; without secrets."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other servers may write, too."""
        ...

    @property
    def writing(self) -> AsyncEngine:
        """For transactions that write. Each statement of one sees what was committed before it."""
        ...

    @property
    def reading(self) -> AsyncEngine:
        """For transactions that only read: all of one sees the same."""
        ...

    @property
    def clock(self) -> ColumnElement[float]:
        """The time in Unix seconds by which all servers of the database go; may use the parameter `wall`, ours."""
        ...

    @property
    def hint(self) -> str:
        """What to do when it cannot be read or written."""
        ...

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """What its driver raises, besides what SQLAlchemy makes of it."""
        ...

    @property
    def term(self) -> int:
        """Not 0 as long as this server is the one that looks for silent peers; another number each time it becomes it.

        It may have ended a moment ago: who uses it must do no harm then.
        """
        ...

    def check(self) -> None:
        """Called before each use. Raises `Unavailable` if it is known that the database is gone."""
        ...

    def refuse_foreign(self, connection: Connection) -> None:
        """Called before anything is changed. Raises `Conflict` for a database of another program."""
        ...

    async def lock(self, connection: AsyncConnection) -> None:
        """Keep all others from writing until the transaction ends. Raises `Unavailable` if that takes too long."""
        ...

    async def announce(self, connection: AsyncConnection, head: Head) -> None:
        """Tell the other servers, once the transaction is committed."""
        ...

    async def follow(self, changed: Changed, lost: Lost) -> None:
        """Call `changed` whenever another server may have written, and `lost`; returns only if nobody else can."""
        ...


def open_database(location: Location) -> Database:
    """The database at a location; nothing is read yet. Raises `Unavailable`, `Conflict`, `InvalidValue`."""
    if isinstance(location, PostgresUrl):
        # Imported only when it is used: it is larger than all the rest of the store.
        from wireguard_mesh.store.postgres import PostgresDatabase

        return PostgresDatabase(location)
    from wireguard_mesh.store.sqlite import SqliteDatabase

    return SqliteDatabase(location)

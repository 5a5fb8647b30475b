"""PostgreSQL's own: connections, locks, and how servers hear of each other. Needs PostgreSQL 14 or newer.

All who write hold one advisory lock until their transaction ends, so batches are decided one after the other, each on
what the one before left. One of the servers holds another one as long as it is connected: that one looks for peers that
fell silent. A third one is shared by all servers that are connected, so that it can be seen whether there are any. They
belong to the schema, so that one database can hold several meshes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, Float, cast, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.model.errors import Conflict, InvalidValue, Unavailable
from wireguard_mesh.store.database import Changed, Head, Lost
from wireguard_mesh.store.faults import Unreachable, translated, words_of
from wireguard_mesh.store.location import PostgresUrl

CHANNEL: Final = "wireguard_mesh"
# "WM" and a number: so that other programs' advisory locks are others.
_WRITER: Final = 0x574D0001
_SWEEPER: Final = 0x574D0002
_SERVING: Final = 0x574D0003
_CONNECTIONS: Final = 3  # one writes, one keeps when peers were heard, one reads
_CONNECT_SECONDS: Final = 5.0
_LOCK_SECONDS: Final = 5.0
_STATEMENT_SECONDS: Final = 8.0
_COMMAND_SECONDS: Final = 10.0  # a little longer: for a database that answers no more
_IDLE_SECONDS: Final = 10.0  # a server that is stopped amidst a batch keeps the others waiting no longer
_LOOK_SECONDS: Final = 5.0
_FROZEN_SECONDS: Final = 6 * _LOOK_SECONDS  # a server that does not even look loses what it holds
_HINT: Final = "look at the database server, and at the way to it"
_FAULTS: Final[tuple[type[Exception], ...]] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_UNREACHABLE: Final[tuple[type[Exception], ...]] = (OSError, *_FAULTS)
_LOST: Final[tuple[type[Exception], ...]] = (Unavailable, *_UNREACHABLE)
_RETRY: Final = Backoff(first=0.25, longest=5.0)
_LOCK_NOT_AVAILABLE: Final = "55P03"  # PostgreSQL 15, appendix A
_OLDEST: Final = 14
_SETTINGS: Final = {
    "application_name": "vpn-server",
    "lock_timeout": f"{_LOCK_SECONDS:.0f}s",
    "statement_timeout": f"{_STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS:.0f}s",
}
# A machine that vanished is to hold no lock: its connection ends when this much time has passed.
_KEEPALIVE: Final = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}

_LOCK: Final = text(f"SELECT pg_advisory_xact_lock({_WRITER}, hashtext(current_schema()))")
_TRY_LOCK: Final = f"SELECT pg_try_advisory_lock({_SWEEPER}, hashtext(current_schema()))"
_SERVE: Final = f"SELECT pg_advisory_lock_shared({_SERVING}, hashtext(current_schema()))"
_TRY_ALONE: Final = f"SELECT pg_try_advisory_lock({_SERVING}, hashtext(current_schema()))"
_LOOK: Final = "SELECT epoch, sequence FROM mesh"


class PostgresDatabase:
    """A PostgreSQL database, or a schema of one, for any number of servers."""

    shared = True
    faults = _FAULTS
    clock = cast(func.extract("epoch", func.clock_timestamp()), Float)

    def __init__(self, url: PostgresUrl, hint: str = _HINT) -> None:
        """`hint`: what to do when the database cannot be reached."""
        self.hint = hint
        self._url = url
        self.name = str(url)
        self.term = 0
        self._terms = 0
        self.writing = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_CONNECT_SECONDS,
            pool_pre_ping=True,  # a connection that was ended while nobody used it is made anew
        )
        self.reading = self.writing.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def check(self) -> None:
        """Only the next statement shows whether it is there."""

    def refuse_foreign(self, connection: Connection) -> None:
        """Raise `Conflict` for a schema with tables of another program, or of a PostgreSQL that is too old."""
        version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
        if version < _OLDEST:
            raise Conflict(f"{self.name} is PostgreSQL {version}", f"{_OLDEST} or newer is needed")
        tables = inspect(connection).get_table_names()
        if tables and "alembic_version" not in tables:
            raise Conflict(
                f"{self.name} has tables of another program", "give vpn-server a database or a schema of its own"
            )

    async def lock(self, connection: AsyncConnection) -> None:
        """Wait until no other server writes. Raises `Unavailable` if one goes on for too long."""
        try:
            await connection.execute(_LOCK)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise Unavailable(
                f"another server has kept the database for {_LOCK_SECONDS:.0f} s", "try again in a moment"
            ) from None

    async def announce(self, connection: AsyncConnection, head: Head) -> None:
        """Notify all servers, this one too, when the transaction is committed."""
        await connection.execute(select(func.pg_notify(CHANNEL, f"{head.epoch} {head.sequence}")))

    async def follow(self, changed: Changed, lost: Lost) -> None:
        """Listen on a connection of its own, and make it again whenever it ends."""
        failures = 0
        while True:
            try:
                connection = await self._connect(idle_session_timeout=f"{_FROZEN_SECONDS:.0f}s")
                failures = 0
                await self._listen(connection, changed)
            except _LOST as error:
                failures += 1
                if failures == 1:
                    lost(_loss(self.name, error, self.hint))
            await asyncio.sleep(_RETRY.delay(failures, random.random()))

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """No server serves this database, until the end of the block. Raises `Conflict` if one does, `Unavailable`."""
        connection = await self._connect()
        try:
            with translated(f"lock the database {self.name}", self.hint, _FAULTS):
                is_alone = await connection.fetchval(_TRY_ALONE)
            if not is_alone:
                raise Conflict(
                    f"a vpn-server serves the database {self.name}",
                    f"stop all servers of it; one whose machine is gone counts for {_FROZEN_SECONDS:.0f} s",
                )
            yield
        finally:
            connection.terminate()

    async def _listen(self, connection: Any, changed: Changed) -> None:
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _connection: ended.set())
        try:
            await connection.execute(_SERVE)
            await connection.add_listener(CHANNEL, lambda *notice: changed(_head_of(notice[-1])))
            while not ended.is_set():
                if not self.term and await connection.fetchval(_TRY_LOCK, timeout=_LOOK_SECONDS):
                    self._terms += 1
                    self.term = self._terms
                # Also what was announced while nobody listened, and whether the database answers.
                row = await connection.fetchrow(_LOOK, timeout=_LOOK_SECONDS)
                changed(Head(row["epoch"], row["sequence"]) if row else None)
                try:
                    await asyncio.wait_for(ended.wait(), _LOOK_SECONDS)
                except TimeoutError:
                    continue
            raise ConnectionError("it was closed")
        finally:
            self.term = 0
            connection.terminate()

    async def _connect(self, **settings: str) -> Any:
        try:
            return await asyncpg.connect(
                self._url.dsn,
                timeout=_CONNECT_SECONDS,
                command_timeout=_COMMAND_SECONDS,
                server_settings={**_SETTINGS, **_KEEPALIVE, **settings},
            )
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            raise InvalidValue(f"{self.name} cannot be used: {words_of(error)}", "see -db") from None
        except _UNREACHABLE as error:
            raise Unreachable(f"cannot reach the database {self.name}: {words_of(error)}", self.hint) from None


def _loss(name: str, error: Exception, hint: str) -> Unavailable:
    if isinstance(error, Unavailable):
        return error
    return Unreachable(f"the connection to the database {name} is lost: {words_of(error)}", hint)


def _head_of(payload: str) -> Head | None:
    epoch, _, sequence = payload.partition(" ")
    return Head(epoch, int(sequence)) if sequence.isdecimal() else None

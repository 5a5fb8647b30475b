"""What a database says when it cannot, in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from wireguard_mesh.model.errors import InvalidValue, MeshError, Unavailable

_FULL: Final = ("full", "no space")


class StorageFull(Unavailable):
    """The database found no room to write."""

    code = "storage_full"


class Unreachable(Unavailable):
    """The database's server cannot be reached. The message says where that is: it is for the log, not for clients."""


class Damaged(InvalidValue):
    """The database holds what no vpn-server wrote."""

    code = "damaged"


@contextmanager
def understood(database: str, what: str) -> Iterator[None]:
    """Raise `Damaged` if `what` of the database cannot be what it is said to be."""
    try:
        yield
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        reason = error.message if isinstance(error, MeshError) else str(error)
        raise Damaged(f"the database {database} is damaged: {what}: {reason}", "restore a backup") from None


@contextmanager
def translated(
    what: str,
    hint: str = "look at the disk and the rights of the database",
    faults: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Raise `StorageFull` or `Unavailable`, with `hint`, for whatever the database raises while it does `what`.

    `faults` are the driver's own errors, besides SQLAlchemy's.
    """
    known: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *faults)
    try:
        yield
    except known as error:
        cause = words_of(error)
        if any(word in cause.lower() for word in _FULL):
            raise StorageFull(f"cannot {what}: {cause}", "make room on the disk of the database") from error
        raise Unavailable(f"cannot {what}: {cause}", hint) from error


def words_of(error: BaseException) -> str:
    """The driver's own words, without SQLAlchemy's: those repeat the statement and its values."""
    orig = getattr(error, "orig", None) or error
    cause = orig.__cause__ or orig
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    words = said.partition("\n")[0]
    return words or ("it did not answer in time" if isinstance(error, TimeoutError) else type(error).__name__)

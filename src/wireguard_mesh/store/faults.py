"""What a database says when it cannot, in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from wireguard_mesh.model.errors import InvalidValue, MeshError, Unavailable

_FULL: Final = ("full", "no space")


class StorageFull(Unavailable):
    """The database found no room to write."""

    code = "storage_full"


class Damaged(InvalidValue):
    """The database holds what no vpn-server wrote."""

    code = "damaged"


@contextmanager
def understood(database: Path, what: str) -> Iterator[None]:
    """Raise `Damaged` if `what` of the database cannot be what it is said to be."""
    try:
        yield
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        reason = error.message if isinstance(error, MeshError) else str(error)
        raise Damaged(f"the database {database} is damaged: {what}: {reason}", "restore a backup") from None


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise `StorageFull` or `Unavailable` for whatever the database raises while it does `what`."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        # The driver's own words, without SQLAlchemy's: those repeat the statement and its values.
        cause = str(getattr(error, "orig", None) or error).partition("\n")[0]
        if any(word in cause.lower() for word in _FULL):
            raise StorageFull(f"cannot {what}: {cause}", "make room on the disk of the database") from error
        raise Unavailable(f"cannot {what}: {cause}", "look at the disk and the rights of the database") from error

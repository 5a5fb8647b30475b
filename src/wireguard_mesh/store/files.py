"""SQLite databases as files: read while they are used, made whole or not at all, kept aside."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Final

from wireguard_mesh.model.errors import Conflict, InvalidValue, Unavailable
from wireguard_mesh.store.faults import Damaged, StorageFull, translated

_WORKING: Final = ".vpn-server-"  # how the folders begin in which files are made
# What SQLite keeps beside a database, and takes for a part of it: https://www.sqlite.org/tempfiles.html
_BESIDE: Final = ("-wal", "-journal")
_PRIVATE_FOLDER: Final = 0o700
_PLACE: Final = "choose a place of yours for it"


def has_content(path: Path) -> bool:
    """False if there is no file, or an empty one. Raises `Conflict` for what is none, `Unavailable`."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}", "look at its rights, or name another file") from None
    if not stat.S_ISREG(status.st_mode):
        raise Conflict(f"{path} is no regular file", "name a database")
    return status.st_size > 0


def make_folder(folder: Path) -> None:
    """Make a folder for its owner only, if there is none. Raises `Unavailable`."""
    with translated(f"make the folder {folder}", _PLACE):
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)


def take_image(path: Path, image: Path) -> None:
    """Copy a SQLite database as it is at one moment; whoever uses it goes on without waiting."""
    what = f"read the database {path}"
    try:
        with (
            translated(what, faults=(sqlite3.Error,)),
            # Not mode=ro, which would leave files beside a database that nobody uses.
            closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as standing,
            closing(sqlite3.connect(image)) as made,
        ):
            standing.backup(made)
    except StorageFull as error:
        raise StorageFull(error.message, f"make room in {gettempdir()}, or set TMPDIR") from None
    except Unavailable as error:
        code = getattr(error.__cause__, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_NOTADB:
            raise InvalidValue(f"{path} is no SQLite database", "name another file, or restore a backup") from None
        if code == sqlite3.SQLITE_CORRUPT:
            raise Damaged(f"the database {path} is damaged", "restore a backup") from None
        raise


@contextmanager
def new_file(path: Path, *, replacing: bool = False) -> Iterator[Path]:
    """Where to make a database that is to be at `path`: it gets there at the end of the block, if nothing is raised.

    `replacing`: also in place of a file. Raises `Conflict` for what must not be replaced, `Unavailable`.
    """
    refuse_standing(path, replacing=replacing)
    with working_folder(path.parent, f"write {path}") as folder:
        made = folder / "made.db"
        yield made
        with translated(f"write {path}", _PLACE, (sqlite3.Error,)):
            with closing(sqlite3.connect(made)) as connection:
                # As one file, which can be read where nothing can be written. Servers set it as they want it.
                connection.execute("PRAGMA journal_mode=DELETE")
            _sync(made)
            refuse_standing(path, replacing=replacing)
            made.replace(path)
            _sync(path.parent)


def is_free(path: Path) -> bool:
    """Whether there is nothing, and nothing of a database that was there."""
    return not any(path.with_name(path.name + suffix).exists() for suffix in ("", *_BESIDE))


def refuse_standing(path: Path, *, replacing: bool = False) -> None:
    """Raise `Conflict` if something is in the place of a new file; with `replacing`, if that is no mere file."""
    with translated(f"write {path}", _PLACE):
        if path.exists() and not (replacing and path.is_file()):
            raise Conflict(f"{path} exists already", "name a file that does not")
    for suffix in _BESIDE:
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            # SQLite would take what is in it for a part of the new one.
            raise Conflict(f"{beside} is there, so {path} is or was a database in use", "name another file")


def move_aside(path: Path, kept: Path) -> None:
    """Rename a database that cannot be read, with what belongs to it. Raises `Conflict`, `Unavailable`."""
    refuse_standing(kept)
    with translated(f"keep {path} aside"):
        # The database last: without it, SQLite would remove what lies beside it.
        for suffix in (*_BESIDE, ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(kept.with_name(kept.name + suffix))


def give_to_owner_of_folder(path: Path) -> None:
    """If we are root, and the folder is another user's: so that the server, which runs as that user, can use the file.

    Nothing if there is none. Raises `Unavailable`.
    """
    if os.geteuid() != 0:
        return
    with translated(f"give {path} to the owner of its folder"), suppress(FileNotFoundError):
        owner = path.parent.stat()
        # Never what a link names: the owner of the folder could choose that.
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


@contextmanager
def working_folder(parent: Path, what: str) -> Iterator[Path]:
    """A folder for us alone, gone at the end with all that is in it. Raises `Unavailable`."""
    with translated(what, _PLACE):
        folder = TemporaryDirectory(prefix=_WORKING, dir=parent)
    with folder as name:
        yield Path(name)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

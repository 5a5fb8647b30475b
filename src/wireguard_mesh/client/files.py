"""Files that are for their owner only, and replaced whole and at once: what stood or what comes, never half of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from wireguard_mesh.model.errors import Conflict, InvalidValue, Unavailable

MAX_FILE: Final = 64 * 1024 * 1024  # bytes; a map has some 300 for each peer
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700

Parsed = TypeVar("Parsed")


def make_folder(folder: Path) -> None:
    """Make the folder, for its owner only. Raises `Unavailable`."""
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def read(path: Path) -> bytes | None:
    """All of it, or None if there is no such file. Raises `Unavailable`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > MAX_FILE:
        raise Unavailable(f"{path} is longer than {MAX_FILE} bytes")
    return data


def place_of(place: Path, default: str) -> tuple[Path, str]:
    """The folder and the file's name of an identity. `place` is a folder, or a file whose name ends in `.json`."""
    return (place.parent, place.name) if place.suffix == ".json" else (place, default)


def read_identity(path: Path, parse: Callable[[bytes], Parsed], holds: str, advice: str) -> Parsed | None:
    """The identity there, or None if there is none yet. `parse` raises `InvalidValue` for what is none.

    Raises `Conflict` for one that cannot be read, which says what it `holds` and gives `advice`; `Unavailable`.
    """
    data = read(path)
    if data is None:
        return None
    try:
        return parse(data)
    except InvalidValue as error:
        raise Conflict(f"{path} cannot be read ({error.message}), and it holds {holds}", advice) from None


def replace(path: Path, data: bytes) -> None:
    """Put the file in place, and its folder. Raises `Unavailable` if the disk does not let us."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def remove(path: Path) -> None:
    """Have it gone. Raises `Unavailable` if the disk does not let us."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(f"{path} cannot be written ({error.strerror})", "make room or set its permissions")

"""Files that are for their owner only, and replaced whole and at once: what stood or what comes, never half of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from wireguard_mesh.model.errors import Unavailable

MAX_FILE: Final = 64 * 1024 * 1024  # bytes; a map has some 300 for each peer
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


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

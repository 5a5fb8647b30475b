"""One process a database: a lock on a file beside it, which the kernel lets go when the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

from wireguard_mesh.model.errors import Conflict, Unavailable

_PID_LENGTH: Final = 20


def lock_of(database: Path) -> Path:
    """The file that is locked."""
    return database.with_name(database.name + ".lock")


class DatabaseLock:
    """Held from `acquire` to `release`, or as a context."""

    def __init__(self, database: Path) -> None:
        self._path = lock_of(database)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises `Conflict` if another process has it, `Unavailable` if the folder cannot be written or locked."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"cannot write {self._path}: {error.strerror}", "choose a folder of yours with -db"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, _PID_LENGTH).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Conflict(
                f"another vpn-server uses this database: pid {holder}", "stop it, or give this one its own with -db"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise Unavailable(
                f"{self._path} cannot be locked ({error.strerror})", "choose a folder on a local disk with -db"
            ) from None
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # a full disk: who holds it is for people, and it is held all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. The file stays: removing it could take it from under another process's lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> DatabaseLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

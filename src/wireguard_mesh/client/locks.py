"""One agent for one interface, and one for one identity: files that are locked as long as the agent runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from wireguard_mesh.model.errors import Conflict, NotPermitted, Unavailable

_DIRECTORY_MODE: Final = 0o755  # every user may ask the agent for the status
_FILE_MODE: Final = 0o600  # whoever can open a file can lock it, and so keep the agent from starting
_LONGEST_ID: Final = 32  # bytes of a process id that are read


def make_directory(directory: Path) -> None:
    """The runtime directory. Raises `NotPermitted`."""
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise NotPermitted(f"{directory} cannot be made ({error.strerror})", "run as root") from None


class Lock:
    """Holds `path` locked, with our process id in it, until the process ends or `release`."""

    def __init__(self, path: Path, what: str) -> None:
        """Raises `Conflict` if another process holds it; `what` says to a person what that means."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as error:
            raise Unavailable(f"{path} cannot be opened ({error.strerror})") from None
        try:
            self._take()
        except BlockingIOError:
            holder = os.read(self._descriptor, _LONGEST_ID).decode("ascii", "replace").strip()
            self.release()
            raise Conflict(f"{what} (process {holder or 'unknown'})", "stop it first: vpn-client down") from None
        except OSError as error:
            self.release()
            raise Unavailable(f"{path} cannot be written ({error.strerror})", "make room") from None

    def _take(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(self._descriptor, _FILE_MODE)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it. The file stays: removing it would let two hold it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

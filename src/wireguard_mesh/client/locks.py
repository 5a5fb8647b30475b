"""One agent for one interface, and one for one identity: files that are locked as long as the agent runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from wireguard_mesh.client.state import StateFolder
from wireguard_mesh.model.errors import Conflict, NotPermitted, Unavailable
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.places import lock_path

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

    def __init__(self, path: Path, what: str, hint: str = "stop it first: vpn-client down") -> None:
        """Raises `Conflict` if another process holds it; `what` says to a person what that means, `hint` what to do."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as error:
            raise Unavailable(f"{path} cannot be opened ({error.strerror})") from None
        try:
            self._take()
        except BlockingIOError:
            holder = os.read(self._descriptor, _LONGEST_ID).decode("ascii", "replace").strip()
            self.release()
            raise Conflict(f"{what} (process {holder or 'unknown'})", hint) from None
        except OSError as error:
            self.release()
            raise Unavailable(f"{path} cannot be locked ({error.strerror})") from None

    def _take(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(self._descriptor, _FILE_MODE)
        with contextlib.suppress(OSError):  # a full disk: who holds it is for people, and it is held all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it. The file stays: removing it would let two hold it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def hold_interface(directory: str, interface: InterfaceName) -> Lock:
    """No agent for the interface runs, nor starts as long as this is held. Raises `Conflict` if one does."""
    make_directory(Path(directory))
    return Lock(Path(lock_path(directory, interface)), f"an agent for {interface} runs already")


@contextlib.contextmanager
def alone(directory: str, interface: InterfaceName, folder: StateFolder) -> Iterator[None]:
    """Be the only one for the interface and for the identity: before the identity is changed, and while an agent runs.

    Raises `Conflict` if an agent runs for one of them.
    """
    folder.make()
    with (
        hold_interface(directory, interface),
        Lock(folder.lock_path, f"an agent with the identity of {folder.path} runs already"),
    ):
        yield

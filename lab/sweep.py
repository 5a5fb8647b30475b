"""Folders of labs: named after their owner, so that a later lab can remove those whose owner is dead.

A folder is the only thing with a name that a lab has; everything else goes with its processes.
"""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

PREFIX = "wireguard-mesh-lab"
_NAME = re.compile(rf"{PREFIX}-(?P<namespace>\d+)-(?P<pid>\d+)-(?P<started>\d+)-\w+")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from a later one of the same PID. `started` is in clock ticks since boot."""

    namespace: int
    pid: int
    started: int

    @classmethod
    def this_process(cls) -> "Owner":
        pid = os.getpid()
        started = _start_time(pid)
        if started is None:
            raise RuntimeError("/proc is not mounted, or not the one of this PID namespace")
        return cls(_pid_namespace(), pid, started)

    @classmethod
    def of(cls, folder: Path) -> "Owner | None":
        """The owner by the folder's name; None for a folder that is no lab's."""
        found = _NAME.fullmatch(folder.name)
        return cls(int(found["namespace"]), int(found["pid"]), int(found["started"])) if found else None

    def is_dead(self) -> bool:
        """Whether the process is certainly gone; nothing is certain about another PID namespace."""
        return self.namespace == _pid_namespace() and _start_time(self.pid) != self.started


def make_folder(base: Path | None = None) -> Path:
    """A new folder that carries the name of this process as its owner."""
    owner = Owner.this_process()
    prefix = f"{PREFIX}-{owner.namespace}-{owner.pid}-{owner.started}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=base))


def sweep(base: Path | None = None) -> list[Path]:
    """Remove the folders of labs whose owners are dead, and return them."""
    folders = sorted((base or Path(tempfile.gettempdir())).glob(f"{PREFIX}-*"))
    stale = [folder for folder in folders if (owner := Owner.of(folder)) and owner.is_dead()]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)  # another lab may be sweeping the same one
    return stale


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, proc(5); None for no process, or one that is dead and not yet waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = stat.rpartition(")")[2].split()  # starts with field 3
    return None if after_name[0] in "ZX" else int(after_name[19])

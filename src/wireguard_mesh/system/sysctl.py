"""Kernel settings below /proc/sys: those of the network are the namespace's own."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from wireguard_mesh.model.errors import MeshError, NotPermitted, Unavailable, Unsupported

PROC_SYS: Final = Path("/proc/sys")


def read(path: str) -> str | None:
    """A setting's value, `path` as in `net/ipv4/ip_forward`; None if this kernel or namespace has no such."""
    try:
        return (PROC_SYS / path).read_text(encoding="ascii").strip()
    except OSError:
        return None


def write(path: str, value: str) -> None:
    """Set it. Raises `NotPermitted`, or `Unsupported` where settings are read-only, as in many containers."""
    try:
        (PROC_SYS / path).write_text(value, encoding="ascii")
    except OSError as error:
        raise _error(path, value, error) from None


def names(folder: str) -> list[str]:
    """What there is below a folder such as `net/ipv4/conf`."""
    try:
        return sorted(entry.name for entry in (PROC_SYS / folder).iterdir())
    except OSError:
        return []


def _error(path: str, value: str, error: OSError) -> MeshError:
    setting = path.replace(".", "%").replace("/", ".").replace("%", "/")  # as sysctl(8) writes them
    if error.errno == errno.EROFS:
        return Unsupported(
            f"the setting {setting} is read-only here",
            f"set it from outside: --sysctl {setting}={value} for a container",
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return NotPermitted(f"the setting {setting} may not be changed", "run as root")
    return Unavailable(f"the setting {setting} cannot be changed: {error.strerror}")

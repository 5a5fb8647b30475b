"""Whether this process may make network interfaces."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CAP_NET_ADMIN: Final = 12  # linux/capability.h


def may_administer() -> bool:
    """Whether this process has CAP_NET_ADMIN (capabilities(7)). True without /proc: the attempt will tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return True
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_NET_ADMIN & 1)

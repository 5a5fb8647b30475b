"""Which router the default route goes to: the one that may be asked to forward a port."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

ROUTES: Final = Path("/proc/net/route")
# <linux/route.h>; proc(5). Addresses are hexadecimal, in the order of the machine's own bytes.
_DESTINATION, _GATEWAY, _FLAGS, _METRIC, _MASK = 1, 2, 3, 6, 7
_RTF_UP: Final = 0x1
_RTF_GATEWAY: Final = 0x2
_COLUMNS: Final = 8


def default_gateway(routes: Path = ROUTES) -> IPv4Address | None:
    """The gateway of the IPv4 default route with the least metric; None without one, or where the system has no such
    table. Routes of other tables than the main one do not count: those of a mesh with an exit node are such."""
    try:
        lines = routes.read_text("ascii", "replace").splitlines()[1:]
    except OSError:
        return None
    found = [entry for line in lines if (entry := _default(line.split())) is not None]
    return min(found, key=lambda entry: entry[0])[1] if found else None


def _default(columns: list[str]) -> tuple[int, IPv4Address] | None:
    if len(columns) < _COLUMNS or int(columns[_DESTINATION], 16) or int(columns[_MASK], 16):
        return None
    flags = int(columns[_FLAGS], 16)
    if not (flags & _RTF_UP and flags & _RTF_GATEWAY):
        return None
    packed = int(columns[_GATEWAY], 16).to_bytes(4, sys.byteorder)
    return int(columns[_METRIC]), IPv4Address(packed)

"""Lengths of time, as people write them."""

from __future__ import annotations

import re
from typing import Final

from wireguard_mesh.model.errors import InvalidValue

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `500ms`, `1.5m` or `2h`. Raises `InvalidValue`."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InvalidValue(f"{text!r} is no duration", "for example 120s, 2m or 1h")
    return float(found[1]) * _UNITS[found[2]]

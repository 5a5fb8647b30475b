"""Fields that are only kept and shown: short, and harmless on a terminal."""

from __future__ import annotations

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol.api import MAX_TEXT


def shown_text(name: str, text: str) -> str:
    """`text` if it may be shown as it is. Raises `InvalidValue` that names the field."""
    if len(text) > MAX_TEXT or not text.isprintable():
        raise InvalidValue(f"{name}: expected at most {MAX_TEXT} printable characters")
    return text

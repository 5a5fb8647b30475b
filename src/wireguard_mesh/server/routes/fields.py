"""Fields of requests: texts that are only kept and shown, and what an answer may be encoded in."""

from __future__ import annotations

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol.api import MAX_TEXT


def shown_text(name: str, text: str) -> str:
    """`text` if it may be shown as it is. Raises `InvalidValue` that names the field."""
    if len(text) > MAX_TEXT or not text.isprintable():
        raise InvalidValue(f"{name}: expected at most {MAX_TEXT} printable characters")
    return text


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header `Accept-Encoding` allows gzip (RFC 9110, section 12.5.3)."""
    weights = {}
    for item in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        weights[coding] = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.strip("0.") != ""

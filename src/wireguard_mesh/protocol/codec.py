"""JSON with the model's own types in it: keys, endpoints, addresses and networks travel as their usual text.

One encoder serves all; make a `Decoder` once for each message type, at import.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, Generic, TypeVar

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError
from wireguard_mesh.model.keys import PublicKey

T = TypeVar("T")

# Private and preshared keys are left out on purpose: nothing of ours sends one.
_AS_TEXT: Final = (Endpoint, PublicKey, IPv4Address, IPv6Address, IPv4Network, IPv6Network)

_FROM_TEXT: Final[dict[Any, Callable[[str], Any]]] = {
    Endpoint: Endpoint.parse,
    PublicKey: PublicKey.from_base64,
    IPv4Address: IPv4Address,
    IPv6Address: IPv6Address,
    IPv4Network: IPv4Network,
    IPv6Network: IPv6Network,
}


def _to_builtin(value: Any) -> str:
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not travel")


def _from_builtin(kind: Any, value: Any) -> Any:
    if not isinstance(value, str):
        raise InvalidValue("a text was expected")
    return _FROM_TEXT[kind](value)


_encoder: Final = msgspec.json.Encoder(enc_hook=_to_builtin)


def encode(message: Any) -> bytes:
    """One line of JSON."""
    return _encoder.encode(message)


def encode_readable(message: Any) -> str:
    """JSON for a person or a file: indented, with a final newline."""
    return msgspec.json.format(_encoder.encode(message), indent=2).decode() + "\n"


class Decoder(Generic[T]):
    """Reads one type of message; unknown fields are ignored, so that older and newer versions talk."""

    def __init__(self, kind: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(kind, dec_hook=_from_builtin)

    def decode(self, data: bytes | str) -> T:
        """Raises `InvalidValue` that says which field is wrong, and never repeats what was sent."""
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise InvalidValue(_reason(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidValue("the body is not valid JSON") from None


def _reason(error: msgspec.ValidationError) -> str:
    # msgspec wraps what our parsers raise, and adds where in the message it was.
    where = str(error).rpartition(" - at ")[2].strip("`") if " - at " in str(error) else ""
    cause = error.__cause__
    if isinstance(cause, MeshError):
        text = str(cause)
    elif cause is not None:
        text = "that is no IP address or network"
    else:
        text = str(error).rpartition(" - at ")[0] or str(error)
    return f"{where.removeprefix('$.')}: {text}" if where else text

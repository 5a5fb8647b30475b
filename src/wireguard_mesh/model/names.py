"""Names of machines and of network interfaces."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NewType

from wireguard_mesh.model.errors import InvalidValue

PeerId = NewType("PeerId", str)
Hostname = NewType("Hostname", str)
InterfaceName = NewType("InterfaceName", str)

MAX_HOSTNAME: Final = 253  # RFC 1035 section 2.3.4, without the trailing dot
MAX_LABEL: Final = 63
MAX_INTERFACE_NAME: Final = 15  # Linux IFNAMSIZ less the final NUL

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PEER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")  # `peer-` and digits, if this server gave it
_INTERFACE: Final = re.compile(rf"[A-Za-z0-9_=+.-]{{1,{MAX_INTERFACE_NAME}}}")


def parse_hostname(text: str) -> Hostname:
    """A host name as RFC 1123 section 2.1 has it, in lower case. Raises `InvalidValue`."""
    name = text.lower()
    if len(name) > MAX_HOSTNAME or not _HOSTNAME.fullmatch(name):
        raise InvalidValue(
            "a host name has letters, digits and hyphens, in labels of 1 to 63 characters separated by dots",
            "for example my-laptop",
        )
    return Hostname(name)


def hostname_from(text: str, fallback: str = "machine") -> Hostname:
    """The nearest host name to what a machine calls itself ("Ann's MacBook" → `anns-macbook`)."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = plain.replace("'", "")
    labels = (re.sub(r"[^a-z0-9]+", "-", label).strip("-")[:MAX_LABEL].strip("-") for label in plain.split("."))
    name = ".".join(label for label in labels if label)[:MAX_HOSTNAME].strip("-.")
    return Hostname(name or fallback)


def parse_peer_id(text: str) -> PeerId:
    """A peer's id, as it was given by this server or taken over from another one. Raises `InvalidValue`."""
    if not _PEER_ID.fullmatch(text):
        raise InvalidValue("this is no usable peer id", "an id has 1 to 32 letters, digits, or . _ -")
    return PeerId(text)


def parse_interface_name(text: str) -> InterfaceName:
    """A name that the kernel and `wg-quick` accept for an interface. Raises `InvalidValue`."""
    if not _INTERFACE.fullmatch(text) or text in {".", ".."}:
        raise InvalidValue(
            f"an interface name has 1 to {MAX_INTERFACE_NAME} letters, digits or _ = + . -", "for example wg0"
        )
    return InterfaceName(text)

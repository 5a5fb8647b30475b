"""The address of a coordination server, as people write it after `-server`."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

import msgspec

from wireguard_mesh.model.endpoints import MAX_PORT
from wireguard_mesh.model.errors import InvalidValue

DEFAULT_HTTP_PORT: Final = 8080  # vpn-server's own default
DEFAULT_HTTPS_PORT: Final = 443
MAX_LENGTH: Final = 512

_EXAMPLES: Final = "write it as http://vpn.example.com:8080 or https://vpn.example.com"
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


class ServerAddress(msgspec.Struct, frozen=True):
    """Scheme, host (a name or an IP address without brackets), port, and the path in front of all of ours."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Read `[http[s]://]HOST[:PORT][/PREFIX][/]`; an IPv6 address stands with or without brackets.

        Raises `InvalidValue`.
        """
        if not text or len(text) > MAX_LENGTH:
            raise InvalidValue("the server's address is missing or too long", _EXAMPLES)
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "http", text
        scheme = scheme.lower()
        if scheme not in {"http", "https"}:
            raise InvalidValue("the server's address starts with http:// or https://", _EXAMPLES)
        authority, slash, path = rest.partition("/")
        prefix = f"{slash}{path}".rstrip("/")
        if "@" in authority or not _PREFIX.fullmatch(prefix):
            raise InvalidValue("the server's address has no user, query or fragment", _EXAMPLES)
        host, port = _split(authority)
        return cls(scheme, host, port or (DEFAULT_HTTPS_PORT if scheme == "https" else DEFAULT_HTTP_PORT), prefix)

    @property
    def secure(self) -> bool:
        """Whether TLS protects it."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port for the `Host` header (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"


def _split(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, bracket, tail = authority[1:].partition("]")
        if not bracket or not _is_ipv6(host) or (tail and not tail.startswith(":")):
            raise InvalidValue("an IPv6 address stands in brackets before its port", "as in http://[2001:db8::1]:8080")
        return host, _port(tail[1:]) if tail else None
    if authority.count(":") > 1:
        if not _is_ipv6(authority):
            raise InvalidValue("that is no IPv6 address", "as in http://[2001:db8::1]:8080")
        return authority, None
    host, colon, port = authority.partition(":")
    if not _HOST.fullmatch(host):
        raise InvalidValue("the server's address names no host", _EXAMPLES)
    return host.lower(), _port(port) if colon else None


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) and 1 <= int(text) <= MAX_PORT):
        raise InvalidValue(f"a port is a number from 1 to {MAX_PORT}", _EXAMPLES)
    return int(text)

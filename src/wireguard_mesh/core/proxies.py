"""Which HTTP proxy the environment wants for the server, by the rules that curl, Go and others share.

`https_proxy` for a server with TLS and `http_proxy` for one without, else `all_proxy`; the small spelling before the
large one. `no_proxy` names what is reached without: `*`, addresses, networks (`10.0.0.0/8`), names, which mean the
names below them too, each with a port if it matters. This machine itself never needs one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.servers import ServerAddress

DEFAULT_PORT: Final = 1080  # curl's, for a proxy whose URL has none
MAX_CREDENTIALS: Final = 512  # bytes of user and password
_EXAMPLE: Final = "write it as http://proxy.example.com:3128, or name the server in NO_PROXY"


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy that is asked to CONNECT (RFC 9110 section 9.3.6). `credentials` are `USER:PASSWORD` for Basic
    authentication (RFC 7617), empty for none; they are never shown."""

    host: str
    port: int
    credentials: bytes = b""

    @classmethod
    def parse(cls, text: str, variable: str) -> Proxy:
        """Read `[http://][USER:PASSWORD@]HOST[:PORT][/]`, from that variable. Raises `InvalidValue`, which shows
        nothing of the text, for it may have a password in it."""
        scheme, separator, rest = text.rpartition("://")
        if separator and scheme.lower() != "http":
            raise InvalidValue(f"{variable} names a proxy of another kind than http://", _EXAMPLE)
        login, _, place = rest.rpartition("@")
        place = place.removesuffix("/")
        has_port = place.endswith("]") is False and ":" in place.rpartition("]")[2]
        try:
            found = ServerAddress.parse(place if has_port else f"{place}:{DEFAULT_PORT}")
        except InvalidValue:
            raise InvalidValue(f"{variable} names no proxy", _EXAMPLE) from None
        credentials = unquote_to_bytes(login)
        if found.prefix or len(credentials) > MAX_CREDENTIALS:
            raise InvalidValue(f"{variable} names no proxy", _EXAMPLE)
        if credentials and b":" not in credentials:
            credentials += b":"
        return cls(found.host, found.port, credentials)

    @property
    def authorization(self) -> str:
        """The value of `proxy-authorization`; secret. Empty: there is none."""
        return f"Basic {base64.b64encode(self.credentials).decode()}" if self.credentials else ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self})"


def proxy_for(server: ServerAddress, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for that server; None: it is reached without. Raises `InvalidValue`."""
    if _is_excepted(server, _variable(environment, "no_proxy")[1]):
        return None
    for name in (f"{server.scheme}_proxy", "all_proxy"):
        variable, text = _variable(environment, name)
        if text:
            return Proxy.parse(text, variable)
    return None


def _variable(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable's name as it is spelled there, and its value; an empty one in small letters stands for none."""
    spelled = name if name in environment else name.upper()
    return spelled, environment.get(spelled, "").strip()


def _is_excepted(server: ServerAddress, no_proxy: str) -> bool:
    host = server.host.rstrip(".").lower()
    try:
        if ip_address(host).is_loopback:
            return True
    except ValueError:
        if host == "localhost":
            return True
    return any(_matches(entry.strip().lower(), host, server.port) for entry in no_proxy.split(","))


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _is_within(entry, host)
    name, separator, suffix = entry.rpartition(":")
    if separator and suffix.isdigit() and (":" not in name or name.endswith("]")):
        if suffix != str(port):
            return False
        entry = name
    entry = entry.strip("[]").strip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _is_within(network: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False

"""Where the server listens, and by which address others reach it."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from wireguard_mesh.model.endpoints import MAX_PORT
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, NotPermitted

# RFC 5737 and RFC 3849: no packet is sent to them, the kernel only chooses the source that it would use.
_ANYWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_EVERYWHERE: Final = ("", "::")
_PORT: Final = 9
_SEND_BUFFER: Final = 256 * 1024  # bytes
_LOCAL: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host name or address, "" or "::" for all of IPv4 and IPv6, and a TCP port; port 0 is any that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read `:8080`, `HOST:8080` or `[IPV6]:8080`. Raises `InvalidValue`."""
        host, separator, port = text.rpartition(":")
        example = "write it as :8080, 192.0.2.1:8080 or [2001:db8::1]:8080"
        if not separator or not (port.isascii() and port.isdigit() and len(port) <= len(str(MAX_PORT))):
            raise InvalidValue(f"{text!r} is no address to listen on", example)
        if int(port) > MAX_PORT:
            raise InvalidValue(f"a port is at most {MAX_PORT}, not {port}", example)
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            try:
                IPv6Address(host)
            except ValueError:
                raise InvalidValue(f"{host!r} is no IPv6 address", example) from None
        elif ":" in host:
            raise InvalidValue(f"{text!r} has an IPv6 address without brackets", example)
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def bind(address: ListenAddress) -> list[socket.socket]:
    """Listening sockets for `address`: one for both families where no host is given.

    Raises `Conflict` if the port is in use, `NotPermitted` without the privilege, `InvalidValue` for a host that is
    not this machine's.
    """
    try:
        if address.host in _EVERYWHERE:
            return [_bind_everywhere(address.port)]
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise InvalidValue(f"{address.host!r} is no address or name of this machine", "see -listen") from None
    except OSError as error:
        raise _translated(address, error) from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, target in dict.fromkeys(found):
            sockets.append(_listener(family, target))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise _translated(address, error) from None
    return sockets


def best_address(address: ListenAddress) -> str:
    """The host by which other machines most likely reach what listens on `address`, in brackets if it is IPv6."""
    if address.host and not _is_unspecified(address.host):
        return bracketed(address.host)
    for family, anywhere in _ANYWHERE:
        try:
            with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
                probe.connect((anywhere, _PORT))
                return bracketed(probe.getsockname()[0])
        except OSError:
            continue
    return _LOCAL


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _bind_everywhere(port: int) -> socket.socket:
    try:
        return _listener(socket.AF_INET6, ("::", port), dual=True)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _listener(socket.AF_INET, ("", port))  # a machine without IPv6


def _listener(family: int, target: object, *, dual: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        # Inherited by each connection: what a reader leaves unread is to be seen here, and not to fill the kernel.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.setblocking(False)
        listener.bind(target)  # type: ignore[arg-type]  # as getaddrinfo gave it
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _translated(address: ListenAddress, error: OSError) -> MeshError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(f"port {address.port} is in use", "stop what uses it, or choose another one with -listen")
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(
            f"port {address.port} needs a privilege", "choose one above 1023 with -listen, or run as root"
        )
    return InvalidValue(f"cannot listen on {address}: {os.strerror(error.errno or 0)}", "see -listen")


def _is_unspecified(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False

"""The UDP sockets of a relay's vantage points: bound by the parent, so that they outlive the process that reads."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Final

from wireguard_mesh.model.endpoints import MAX_PORT
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, NotPermitted

VANTAGES: Final = 2  # as many as it takes to tell an easy NAT from a hard one
BUFFER_BYTES: Final = 8 * 1024 * 1024  # some 10 ms of 5 Gbit/s, with the kernel's own bookkeeping
_SO_SNDBUFFORCE: Final = 32  # <asm-generic/socket.h>
_SO_RCVBUFFORCE: Final = 33
_EVERYWHERE: Final = ("", "::")

Sockets = tuple[tuple[socket.socket, ...], ...]
"""For each vantage point its sockets: one for both families, or one for each address of the host named."""


def bind_vantages(host: str, port: int) -> Sockets:
    """UDP sockets at `port` and the next one. `host` as in `-listen`: "" or "::" is all of IPv4 and IPv6.

    Raises `Conflict` if a port is in use, `NotPermitted` without the privilege, `InvalidValue` for a host that is not
    this machine's or a port that has no next.
    """
    if not 1 <= port <= MAX_PORT - VANTAGES + 1:
        raise InvalidValue(
            f"a relay needs a UDP port from 1 to {MAX_PORT - VANTAGES + 1}", "choose another with -listen"
        )
    opened: list[tuple[socket.socket, ...]] = []
    try:
        opened.extend(_bind(host, number) for number in range(port, port + VANTAGES))
    except MeshError:
        close(tuple(opened))
        raise
    return tuple(opened)


def close(sockets: Sockets) -> None:
    """Close all of them."""
    for vantage in sockets:
        for sock in vantage:
            sock.close()


def _bind(host: str, port: int) -> tuple[socket.socket, ...]:
    opened: list[socket.socket] = []
    try:
        if host in _EVERYWHERE:
            return (_bind_everywhere(port),)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, target in dict.fromkeys(found):
            opened.append(_bound(family, target))
    except (socket.gaierror, UnicodeError):
        raise InvalidValue(f"{host!r} is no address or name of this machine", "see -listen") from None
    except OSError as error:
        for sock in opened:
            sock.close()
        raise _translated(port, error) from None
    return tuple(opened)


def _bind_everywhere(port: int) -> socket.socket:
    try:
        return _bound(socket.AF_INET6, ("::", port), dual=True)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bound(socket.AF_INET, ("", port))  # a machine without IPv6


def _bound(family: int, target: object, *, dual: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        _enlarge(sock, socket.SO_RCVBUF, _SO_RCVBUFFORCE)
        _enlarge(sock, socket.SO_SNDBUF, _SO_SNDBUFFORCE)
        sock.setblocking(False)
        sock.bind(target)  # type: ignore[arg-type]  # as getaddrinfo gave it
    except OSError:
        sock.close()
        raise
    return sock


def _enlarge(sock: socket.socket, option: int, forced: int) -> None:
    # Beyond the system's limit (net.core.rmem_max) with CAP_NET_ADMIN only; else as far as it allows.
    if sys.platform == "linux":
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except PermissionError:
            pass
        else:
            return
    sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)


def _translated(port: int, error: OSError) -> MeshError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(f"UDP port {port} is in use", "stop what uses it, or choose another port with -listen")
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(f"UDP port {port} needs a privilege", "choose one above 1023, or run as root")
    return InvalidValue(f"cannot bind UDP port {port}: {os.strerror(error.errno or 0)}", "see -listen")

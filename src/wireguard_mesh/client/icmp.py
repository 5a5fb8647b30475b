"""Pings a machine by ICMP echo, with the socket for unprivileged users where there is one, else with a raw one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import socket
from struct import Struct
from time import perf_counter
from typing import Final

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import NotPermitted, Unavailable
from wireguard_mesh.protocol.icmp import ECHO_REPLY, echo_request, is_reply, without_ipv4_header

PAYLOAD_SIZE: Final = 56  # bytes, as ping sends
_MAX_MESSAGE: Final = 2048  # bytes
_SOL_RAW: Final = 255  # linux/socket.h
_ICMP_FILTER: Final = 1  # linux/icmp.h: a bit set keeps messages of that type away
_ICMPV6_FILTER: Final = 1  # linux/icmpv6.h: the same, with a bit for each of 256 types
_WORD: Final = Struct("=I")
_TYPES_OF_WORD: Final = 32
_NO_WAY: Final = {
    errno.ENETUNREACH: "there is no route to it",
    errno.EHOSTUNREACH: "it cannot be reached",
    errno.ENOKEY: "WireGuard has no peer with that address",
    errno.EDESTADDRREQ: "WireGuard has no address at which to call it",
    errno.ENETDOWN: "the interface is down",
}

make_socket = socket.socket


async def ping(address: Address, sequence: int, seconds: float) -> float | None:
    """The round trip in seconds, or None if no answer came within `seconds`.

    Raises `Unavailable` if there is no way there, `NotPermitted` without the right to ping.
    """
    with _open(address) as connection, contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            try:
                connection.connect((str(address), 0))
                return await _exchange(connection, address.version, sequence)
            except OSError as error:
                reason = _NO_WAY.get(error.errno or 0) or error.strerror or str(error)
                raise Unavailable(f"{address} cannot be pinged: {reason}") from None
    return None


async def _exchange(connection: socket.socket, version: int, sequence: int) -> float:
    loop = asyncio.get_running_loop()
    payload = secrets.token_bytes(PAYLOAD_SIZE)
    is_with_header = connection.type == socket.SOCK_RAW and version == 4
    started = perf_counter()
    await loop.sock_sendall(connection, echo_request(version, secrets.randbits(16), sequence, payload))
    while True:
        message = await loop.sock_recv(connection, _MAX_MESSAGE)
        took = perf_counter() - started
        if is_reply(version, without_ipv4_header(message) if is_with_header else message, sequence, payload):
            return took


def _open(address: Address) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if address.version == 4 else socket.IPPROTO_ICMPV6
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with contextlib.suppress(PermissionError):
            made = make_socket(family, kind, protocol)
            made.setblocking(False)
            if kind == socket.SOCK_RAW:
                _let_only_replies_in(made, address.version)
            return made
    raise NotPermitted("this user may send no ping", "run the agent as root, or set net.ipv4.ping_group_range")


def _let_only_replies_in(raw: socket.socket, version: int) -> None:
    """A raw socket gets a copy of all of the machine's ICMP: keep the rest away from it."""
    kind = ECHO_REPLY[version]
    if version == 4:
        raw.setsockopt(_SOL_RAW, _ICMP_FILTER, _WORD.pack(0xFFFFFFFF & ~(1 << kind)))
        return
    words = [0xFFFFFFFF] * (256 // _TYPES_OF_WORD)
    words[kind // _TYPES_OF_WORD] &= ~(1 << kind % _TYPES_OF_WORD)
    raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, b"".join(map(_WORD.pack, words)))

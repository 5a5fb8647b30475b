"""The WebSocket by which a peer's datagrams reach the relay where UDP is blocked (RFC 6455).

Here only its opening handshake is answered. The connection is then taken from the HTTP protocol, and its socket given
to the relay's process: not one datagram passes through this one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.relay_api import RELAY_HEADER
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.connections import GuardedProtocol
from wireguard_mesh.server.one_way import OneWayProtocol
from wireguard_mesh.server.own_relay import OwnRelay

VERSION: Final = "13"  # RFC 6455, section 4.1
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_KEY_LENGTH: Final = 16
OPENED_BURST: Final = 10  # of one peer at once, and a second after that: what it had before is shut for each
OPENED_RATE: Final = 0.2
_SECURE: Final = "ssl_object"


class Carriers:
    """Makes WebSockets of connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opened = RateLimiter(OPENED_BURST, OPENED_RATE, what="this peer opens too many connections to the relay")

    def open(
        self, relay: OwnRelay | None, connection: GuardedProtocol, key: PublicKey, headers: Mapping[str, str]
    ) -> None:
        """Answer the opening handshake of a peer, whose request is verified, and give the relay the connection.

        Raises `InvalidValue` for what is no such handshake, `Unavailable`, `RateLimited`.
        """
        accept = accept_of(headers)
        if relay is None or not relay.is_up:
            raise Unavailable("this server relays nothing now", "try again in a moment")
        _check_transport(connection.transport)
        self._opened.take(key, self._clock.monotonic())
        heir = _Given(relay, key, _head(connection.server_state.default_headers, accept, relay.id))
        if connection.hand_over(heir):
            heir.give()


def accept_of(headers: Mapping[str, str]) -> str:
    """What answers the key of an opening handshake. Raises `InvalidValue` if it is none; names in lower case."""
    hint = "open a WebSocket as RFC 6455 says"
    tokens = [token.strip() for token in headers.get("connection", "").lower().split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in tokens:
        raise InvalidValue("a relay is reached over a WebSocket", hint)
    if headers.get("sec-websocket-version") != VERSION:
        raise InvalidValue(f"only version {VERSION} of the WebSocket protocol is spoken here", hint)
    key = headers.get("sec-websocket-key", "")
    try:
        is_key = len(binascii.a2b_base64(key.encode("ascii"), strict_mode=True)) == _KEY_LENGTH
    except (binascii.Error, UnicodeEncodeError):
        is_key = False
    if not is_key:
        raise InvalidValue("Sec-WebSocket-Key is no key", hint)
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID.encode(), usedforsecurity=False).digest()).decode()


class _Given(OneWayProtocol):
    """A connection on its way to the relay's process."""

    __slots__ = ("_head", "_key", "_relay")

    def __init__(self, relay: OwnRelay, key: PublicKey, head: bytes) -> None:
        super().__init__()
        self._relay = relay
        self._key = key
        self._head = head

    def give(self) -> None:
        """Let the relay's process have it; our own side of it is closed without a word to the other end."""
        self.transport.pause_reading()
        ours: socket.socket = self.transport.get_extra_info("socket")
        connection = socket.socket(fileno=os.dup(ours.fileno()))
        self.transport.abort()
        try:
            is_sent = connection.send(self._head) == len(self._head)
        except OSError:
            is_sent = False  # it is gone
        if is_sent:
            self._relay.adopt(connection, b"", self._key)
        else:
            connection.close()


def _check_transport(transport: asyncio.Transport) -> None:
    # What the event loop still has to write, it alone can write; and over TLS it alone has the keys. A connection that
    # is encrypted in this process would be given away as one end of a socket pair, with a task in between.
    if transport.get_write_buffer_size() or transport.get_extra_info(_SECURE) is not None:
        raise Unavailable("this connection cannot be given to the relay", "use one for it alone")


def _head(headers: list[tuple[bytes, bytes]], accept: str, relay: str) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        + lines
        + f"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n".encode()
        + f"{RELAY_HEADER}: {relay}\r\n\r\n".encode()
    )

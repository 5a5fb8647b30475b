"""What a relay process and its parent say to each other, over a Unix stream socket.

Each message is a frame: its length (u32, big endian), then msgpack. A file descriptor travels with the first byte of
the frame that it belongs to (`SCM_RIGHTS`); `Adopt` is the only one that has one. Neither side trusts the other further
than it must: whatever cannot be read ends the connection, and with it the child.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from wireguard_mesh.core.forwarding_peers import Traffic
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.relays import RelayId
from wireguard_mesh.protocol.api import RelayCounters

M = TypeVar("M")

MAX_FRAME: Final = 16 * 1024 * 1024  # bytes: a roster of some 400,000 keys
MAX_ADOPTED: Final = 64 * 1024  # bytes that were read behind an upgrade
TOP_PAIRS: Final = 32  # that are named in `Stats`
_LENGTH: Final = struct.Struct("!I")


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """What one peer may take of a relay. 0: as much as it can."""

    bytes_per_second: int = 0
    burst_bytes: int = 16 * 1024 * 1024
    carriers: int = 10_000  # WebSockets at once


class Setup(msgspec.Struct, frozen=True, array_like=True, tag="setup", kw_only=True):
    """The first message to a child. `vantages`: the private key of each vantage point, the first of which forwards.

    `folder`: where the journal is kept, "" for none. `sockets`: for each vantage point the inherited descriptors,
    which the supervisor fills in.
    """

    relay: RelayId
    vantages: tuple[PrivateKey, ...]
    folder: str
    limits: Limits = Limits()
    log_level: str = "INFO"
    sockets: tuple[tuple[int, ...], ...] = ()


class Roster(msgspec.Struct, frozen=True, array_like=True, tag="roster"):
    """Who is registered and may be forwarded for. `whole`: `add` is everybody; else a difference."""

    add: tuple[PublicKey, ...]
    remove: tuple[PublicKey, ...] = ()
    whole: bool = False


class Adopt(msgspec.Struct, frozen=True, array_like=True, tag="adopt"):
    """A connected TCP socket that becomes a WebSocket of this peer: its signed upgrade was verified and answered.

    `data`: what was read behind the request already.
    """

    key: PublicKey
    data: bytes


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop"):
    """End, and leave the journal in order."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """The child relays. `restored`: sessions that it took from its journal."""

    restored: int = 0


class Observed(msgspec.Struct, frozen=True, array_like=True, tag="observed"):
    """Where a vantage point sees the WireGuard socket of a peer; `endpoint` None and `over_web`: by WebSocket only."""

    key: PublicKey
    vantage: int
    endpoint: Endpoint | None
    over_web: bool = False


class Stats(msgspec.Struct, frozen=True, array_like=True, tag="stats", kw_only=True):
    """How a relay does; counts are since the child began.

    `dropped`: packets by reason, a bounded set of words. `memory`: resident bytes. `busy`: seconds of processor time.
    `pairs`: those with the most bytes, at most `TOP_PAIRS`.
    """

    uptime: float = 0.0
    memory: int = 0
    busy: float = 0.0
    received_packets: int = 0
    received_bytes: int = 0
    forwarded_packets: int = 0
    forwarded_bytes: int = 0
    answered: int = 0
    dropped: dict[str, int] = {}
    registered: int = 0
    sessions: int = 0
    routes: int = 0
    carriers: int = 0
    pairs: tuple[Traffic, ...] = ()

    @property
    def counters(self) -> RelayCounters:
        """What the server tells of a relay."""
        return RelayCounters(
            registered=self.registered,
            sessions=self.sessions,
            routes=self.routes,
            carriers=self.carriers,
            forwarded_packets=self.forwarded_packets,
            forwarded_bytes=self.forwarded_bytes,
        )


ToChild = Setup | Roster | Adopt | Stop
ToParent = Ready | Observed | Stats


def _to_builtin(value: Any) -> bytes | str:
    if isinstance(value, (PublicKey, PrivateKey)):
        return value.raw
    if isinstance(value, Endpoint):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not travel")


def _from_builtin(kind: Any, value: Any) -> Any:
    if isinstance(value, bytes) and kind in (PublicKey, PrivateKey):
        return kind(value)
    if isinstance(value, str) and kind is Endpoint:
        return Endpoint.parse(value)
    raise InvalidValue(f"a {kind.__name__} was expected")


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_to_builtin)


def frame(message: ToChild | ToParent) -> bytes:
    """The bytes of a message. Raises `InvalidValue` for one that no frame holds."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME:
        raise InvalidValue("the message is too long for one frame")
    return _LENGTH.pack(len(body)) + body


class FrameReader(Generic[M]):
    """Bytes in, messages out; holds at most one frame."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(kind, dec_hook=_from_builtin)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[M]:
        """The messages that are whole now. Raises `InvalidValue`: nothing after that can be understood."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise InvalidValue("a frame is longer than any message")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield self._decode(body)

    def _decode(self, body: bytes) -> M:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, MeshError, RecursionError, UnicodeDecodeError):
            raise InvalidValue("a frame holds no message") from None


def for_child() -> FrameReader[ToChild]:
    """Reads what a parent says."""
    return FrameReader(ToChild)


def for_parent() -> FrameReader[ToParent]:
    """Reads what a child says."""
    return FrameReader(ToParent)

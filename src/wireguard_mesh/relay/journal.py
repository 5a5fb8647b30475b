"""What a relay must know to go on after its process was killed: sessions of the rendezvous, and routes.

A record is appended when something is new, and nothing of it is of use for longer than WireGuard's sessions live. So
two files do: the one that is written, and the one before, which is deleted after `GENERATION_SECONDS`. A record is its
length (u32), the CRC-32 of its body, and the body in msgpack; reading ends where that does not fit, at a record that
was torn or at what is no journal. The kernel has what was written, so there is no need to wait for the disk: after the
machine itself was restarted no session is worth anything.

The files hold keys of sessions: they are the owner's alone, and nothing else is written there.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from struct import Struct
from typing import Any, Final

import msgspec

from wireguard_mesh.core.forwarding_routes import SavedRoute
from wireguard_mesh.core.rendezvous import SavedSession
from wireguard_mesh.core.sources import UdpSource
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import RelayId

log = logging.getLogger(__name__)

GENERATION_SECONDS: Final = 180.0  # Reject-After-Time: what is older is of no use
MAX_BYTES: Final = 64 * 1024 * 1024  # of a file; then it is begun anew with what lives
_MAX_BODY: Final = 4096
_MODE: Final = 0o600
_RECORD: Final = Struct("<II")
_MAX_PORT: Final = 0xFFFF
_MAX_FLOW: Final = 0xFFFFF  # RFC 6437: 20 bits
_MAX_SCOPE: Final = 0xFFFF_FFFF


class _Session(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """A `SavedSession`; `source` as a list, since it has two lengths."""

    public_key: PublicKey
    vantage: int
    index: int
    receiving_key: bytes
    counter: int
    created: float
    timestamp: bytes
    source: list[str | int]


class _Route(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A `SavedRoute`."""

    source: PublicKey
    destination: PublicKey
    index: int
    created: float


def _to_builtin(value: Any) -> bytes:
    if isinstance(value, PublicKey):
        return value.raw
    raise TypeError(f"{type(value).__name__} is not kept")


def _from_builtin(kind: Any, value: Any) -> Any:
    if kind is not PublicKey or not isinstance(value, bytes):
        raise ValueError("that is no key")
    return PublicKey(value)


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_to_builtin)
_decoder: Final[msgspec.msgpack.Decoder[_Session | _Route]] = msgspec.msgpack.Decoder(
    _Session | _Route, dec_hook=_from_builtin
)


class Journal:
    """The two files of one relay in a folder. No method raises for what the disk does: a relay works without it."""

    def __init__(self, folder: Path, relay: RelayId, max_bytes: int = MAX_BYTES) -> None:
        self._current = folder / f"relay-{relay}.journal"
        self._before = folder / f"relay-{relay}.before.journal"
        self._max_bytes = max_bytes
        self._file: int | None = None
        self._size = 0
        self._began = 0.0
        self._has_complained = False

    def read(self) -> tuple[list[SavedSession], list[SavedRoute]]:
        """What other processes left, oldest first."""
        sessions: list[SavedSession] = []
        routes: list[SavedRoute] = []
        for path in (self._before, self._current):
            for record in records(self._contents(path)):
                if isinstance(record, SavedRoute):
                    routes.append(record)
                else:
                    sessions.append(record)
        return sessions, routes

    def begin(self, sessions: Iterable[SavedSession], routes: Iterable[SavedRoute], now: float) -> None:
        """Start anew with what lives; the files before are of no use any more. `now` in monotonic seconds."""
        new = self._current.with_suffix(".new")
        data = encoded(sessions, routes)
        self.close()
        try:
            new.unlink(missing_ok=True)
            self._file = _create(new)
            _write(self._file, data)
            new.replace(self._current)
            self._before.unlink(missing_ok=True)
        except OSError as error:
            self._fail(error)
        self._size, self._began = len(data), now

    def append(self, sessions: Iterable[SavedSession], routes: Iterable[SavedRoute]) -> None:
        """Keep what is new."""
        if self._file is None:
            return
        data = encoded(sessions, routes)
        try:
            _write(self._file, data)
        except OSError as error:
            self._fail(error)
        self._size += len(data)

    def turn(self, now: float) -> None:
        """To be called each second or so: begins another file when it is time."""
        if now - self._began < GENERATION_SECONDS:
            return
        self._began = now
        self.close()
        try:
            if self._current.exists():
                self._current.replace(self._before)
            self._file = _create(self._current)
        except OSError as error:
            self._fail(error)
        self._size = 0

    @property
    def is_too_long(self) -> bool:
        """Whether it is time to `begin` anew."""
        return self._size > self._max_bytes

    def close(self) -> None:
        """Let go of the file; what it says stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _contents(self, path: Path) -> bytes:
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                return file.read(2 * self._max_bytes)
        except FileNotFoundError:
            return b""
        except OSError as error:
            log.warning("cannot read what the relay knew: %s file=%s", error.strerror, path)
            return b""

    def _fail(self, error: OSError) -> None:
        self.close()
        if not self._has_complained:
            self._has_complained = True
            log.warning(
                "cannot keep what the relay knows, so that a restart interrupts relayed pairs: %s file=%s",
                error.strerror,
                self._current,
            )


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, _MODE)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def encoded(sessions: Iterable[SavedSession], routes: Iterable[SavedRoute]) -> bytes:
    """Records of these."""
    records: list[_Session | _Route] = [
        _Session(**{**msgspec.structs.asdict(session), "source": list(session.source)}) for session in sessions
    ]
    records += [_Route(*msgspec.structs.astuple(route)) for route in routes]
    parts: list[bytes] = []
    for record in records:
        body = _encoder.encode(record)
        parts += (_RECORD.pack(len(body), zlib.crc32(body)), body)
    return b"".join(parts)


def records(data: bytes) -> Iterator[SavedSession | SavedRoute]:
    """What a file says, up to where it is no journal."""
    at = 0
    while at + _RECORD.size <= len(data):
        length, checksum = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        body = data[at : at + length]
        if length > _MAX_BODY or len(body) < length or zlib.crc32(body) != checksum:
            return
        at += length
        try:
            yield _parsed(_decoder.decode(body))
        except (msgspec.DecodeError, MeshError, ValueError):
            return


def _parsed(record: _Session | _Route) -> SavedSession | SavedRoute:
    if isinstance(record, _Route):
        return SavedRoute(*msgspec.structs.astuple(record))
    return SavedSession(**{**msgspec.structs.asdict(record), "source": _source(record.source)})


def _source(parts: list[str | int]) -> UdpSource:
    """As the socket gave it, so that it can be sent to. Raises `ValueError`."""
    match parts:
        case [str(host), int(port)] if 0 < port <= _MAX_PORT:
            IPv4Address(host)
            return host, port
        case [str(host), int(port), int(flow), int(scope)] if 0 < port <= _MAX_PORT:
            IPv6Address(host)
            if 0 <= flow <= _MAX_FLOW and 0 <= scope <= _MAX_SCOPE:
                return host, port, flow, scope
    raise ValueError("that is no source")

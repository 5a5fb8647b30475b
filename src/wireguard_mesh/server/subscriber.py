"""One who subscribed to the map's stream: a transport, and the few words of state from which follows what it lacks."""

from __future__ import annotations

from typing import Final, Protocol

from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.server.one_way import OneWayProtocol
from wireguard_mesh.server.pieces import GZIP_START, LAST_CHUNK, Piece

_HEAD: Final = (
    b"content-type: text/event-stream\r\ncache-control: no-store\r\nx-accel-buffering: no\r\n"
    b"transfer-encoding: chunked\r\nconnection: close\r\n"
)


class Publisher(Protocol):
    """Who writes to the subscribers."""

    def forget(self, subscriber: Subscriber) -> None:
        """It ends: nothing more is to be written to it. It is to be shut if it does not read."""

    def lost(self, subscriber: Subscriber) -> None:
        """Its connection is gone."""

    def paused(self, subscriber: Subscriber) -> None:
        """It does not read: it is to be passed over, and shut after a while."""

    def resumed(self, subscriber: Subscriber) -> None:
        """It has read: what it missed may follow."""


class Subscriber(OneWayProtocol):
    """One stream. `version`: of the last step, or that at which the whole map began; None: it has nothing of
    ours. `chunk`: the last one sent of the whole map, None if that is complete."""

    __slots__ = ("_publisher", "chunk", "is_begun", "is_gzip", "key", "sent", "slot", "version")

    def __init__(self, publisher: Publisher, key: PublicKey, version: MapVersion | None, *, is_gzip: bool) -> None:
        super().__init__()
        self._publisher = publisher
        self.key = key
        self.version = version
        self.is_gzip = is_gzip
        self.is_begun = False  # a step was sent, if only that nothing changed
        self.chunk: int | None = None
        self.sent = 0.0
        self.slot = 0

    def begin(self, headers: list[tuple[bytes, bytes]], now: float) -> None:
        """The head of the answer."""
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        encoding = b"content-encoding: gzip\r\n" if self.is_gzip else b""
        start = GZIP_START if self.is_gzip else b""
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + lines + _HEAD + encoding + b"\r\n" + start)
        self.sent = now

    def write(self, piece: Piece, now: float) -> None:
        """Send some events."""
        self.transport.write(piece.wire(is_gzip=self.is_gzip))
        self.sent = now

    def end(self) -> None:
        """Let the reader know at once that nothing more comes."""
        self._publisher.forget(self)
        if self.is_paused:
            self.transport.abort()
        else:
            self.transport.write(LAST_CHUNK)
            self.transport.close()

    def pause_writing(self) -> None:
        """It does not read as fast as it is written to: until it has, it is passed over."""
        super().pause_writing()
        self._publisher.paused(self)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._publisher.resumed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._publisher.lost(self)

    def shutdown(self) -> None:
        """The server stops."""
        self.end()

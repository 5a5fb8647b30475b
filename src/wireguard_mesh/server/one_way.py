"""A connection on which only the server has something to say any more."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from wireguard_mesh.server.shared import Shared


class OneWayProtocol(asyncio.Protocol):
    """What a connection becomes when its last request is answered by a stream; `GuardedProtocol.hand_over` makes it so.

    It is counted among the server's connections as before. It uses only what a transport over TLS has, too.
    """

    __slots__ = ("_shared", "_source", "is_paused", "transport")

    transport: asyncio.Transport
    _shared: Shared
    _source: Hashable | None

    def __init__(self) -> None:
        self.is_paused = False  # the other side does not read as fast as it is written to

    def take_over(
        self, transport: asyncio.Transport, shared: Shared, source: Hashable | None, *, is_paused: bool
    ) -> None:
        """The connection is this protocol's from now on. `source`: what it is counted by, and to be discounted."""
        self.transport = transport
        self._shared = shared
        self._source = source
        shared.connections.add(self)  # type: ignore[arg-type]  # uvicorn asks no more of them than `shutdown`
        transport.set_protocol(self)
        if is_paused:
            self.pause_writing()

    def data_received(self, _data: bytes) -> None:
        """There is nothing that the other side might say: what it is, it would only cost."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """It does not read as fast as it is written to."""
        self.is_paused = True
        self._shared.hold_unsent(self)

    def resume_writing(self) -> None:
        """It has read."""
        self.is_paused = False
        self._shared.drop_unsent(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """One connection less."""
        self._shared.drop_unsent(self)
        self._shared.connections.discard(self)
        if self._source is not None:
            self._shared.discount(self._source)

    def shutdown(self) -> None:
        """The server stops."""
        self.transport.close()

"""What a relay asks of a UDP socket, whichever way the system moves packets best."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Final, Protocol

from wireguard_mesh.core.forwarding import Buffer
from wireguard_mesh.core.sources import Source, UdpSource

log = logging.getLogger(__name__)

Handle = Callable[[Source, Buffer, int, int, int], None]
"""Takes what came from a source: buffer, start, end, and the size of each packet but the last."""

FindRoute = Callable[[Source, int, int, int], UdpSource | None]
"""Where transport messages with these first eight bytes go; takes their number and bytes. None: ask `Handle`."""

MAX_DATAGRAM: Final = 65535
SPARE_SOURCES: Final = 1024  # that are remembered of peers that have moved, before it is tidied up


class Port(Protocol):
    """One non-blocking UDP socket. No method raises for what the network does; a packet that cannot go is dropped."""

    @property
    def dropped(self) -> int:
        """Packets that could not be sent."""

    def fileno(self) -> int:
        """The descriptor to wait for."""

    def receive(self, handle: Handle, route: FindRoute) -> bool:
        """Take one batch of what waits. True: there may be more.

        Each packet is sent where `route` says, or given to `handle`.

        The buffer is the caller's until it returns; what `handle` sends out of it leaves before that.
        """

    def send(self, destination: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
        """Send `buffer[start:end]` in packets of `size` bytes but for the last; outside of `receive`, at once."""

    def knows(self, source: Source) -> bool:
        """Whether this source was heard on this socket, as far as is remembered."""


class Complaints:
    """Says each fault once, however often it comes."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said: set[int | None] = set()

    def note(self, error: OSError) -> None:
        """It could not be done."""
        if error.errno not in self._said:
            self._said.add(error.errno)
            log.warning("%s, which is not said again: %s", self._what, error.strerror)


def has_fast_path() -> bool:
    """Whether `relay.linux` works here: it knows how 64-bit little-endian Linux lays out its structures."""
    return sys.platform == "linux" and sys.maxsize > 1 << 32 and sys.byteorder == "little"

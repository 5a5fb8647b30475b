"""What all connections of a server share: how many there are, and how much is held for those that do not read."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Hashable
from email.utils import formatdate
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Final, Protocol

from uvicorn.server import ServerState

from wireguard_mesh.core.ratelimit import source_of

MAX_CONNECTIONS: Final = 24_000  # two for each of 10,000 agents, and a fifth more for everybody else
MAX_UNSENT: Final = 256 * 1024 * 1024  # bytes of answers that nobody reads, of all connections together
_KEPT_UNSENT: Final = 0.75  # of them, when that was too much


class Written(Protocol):
    """A connection that is written to."""

    transport: asyncio.Transport


class Shared(ServerState):
    """What all connections share. Dates each answer when it is made, so that no timer must."""

    _second = 0
    _headers: list[tuple[bytes, bytes]]

    def __init__(self, per_source: int, max_connections: int = MAX_CONNECTIONS) -> None:
        super().__init__()
        self.stopping = False
        self.idle: dict[asyncio.Transport, None] = {}  # between two requests, the one that is for longest first
        self._max_connections = max_connections
        self._unsent: dict[Written, int] = {}  # those that do not read, the one that began first first; bytes
        self._unsent_bytes = 0
        self._per_source = per_source
        self._sources: Counter[Hashable] = Counter()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that every answer has."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        pass  # uvicorn's own, made at its ticks

    def has_room(self) -> bool:
        """Whether the connection that was just made may stay. If there are too many, an idle one gives way to it."""
        excess = len(self.connections) - self._max_connections
        if excess <= 0:
            return True
        for transport in tuple(self.idle)[:excess]:
            del self.idle[transport]
            transport.close()
            excess -= 1
        return excess <= 0

    def count(self, source: Hashable) -> bool:
        """One more connection of a source; False if it has too many. Each is to be discounted once."""
        self._sources[source] += 1
        return not self._per_source or self._sources[source] <= self._per_source

    def discount(self, source: Hashable) -> None:
        """One less."""
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]

    def hold_unsent(self, connection: Written) -> None:
        """One more that does not read. If that makes too much, those that have not for longest are shut."""
        self.drop_unsent(connection)
        self._unsent[connection] = connection.transport.get_write_buffer_size()
        self._unsent_bytes += self._unsent[connection]
        if self._unsent_bytes <= MAX_UNSENT:
            return
        # They may have read some since. All are looked at, so there must be some room then until the next look.
        self._unsent = {each: each.transport.get_write_buffer_size() for each in self._unsent}
        self._unsent_bytes = sum(self._unsent.values())
        while self._unsent_bytes > MAX_UNSENT * _KEPT_UNSENT:
            oldest = next(iter(self._unsent))
            self.drop_unsent(oldest)
            oldest.transport.abort()

    def drop_unsent(self, connection: Written) -> None:
        """It has read, or is gone."""
        self._unsent_bytes -= self._unsent.pop(connection, 0)


def source_limited(client: tuple[str, int] | None) -> Hashable | None:
    """By what the connections of a client are counted. None: not at all, it is of this machine, mostly a proxy."""
    if client is None:
        return None
    source = source_of(ip_address(client[0].partition("%")[0]))
    is_local = source == IPv6Network("::/64") or (isinstance(source, IPv4Address) and source.is_loopback)
    return None if is_local else source

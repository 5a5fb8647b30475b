"""UDP as every system has it: one packet a call."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

from wireguard_mesh.core.forwarding import Buffer
from wireguard_mesh.core.sources import Source, WebSource
from wireguard_mesh.core.turnstile import Turnstile
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE, MAC_LENGTH, MessageType, message_type
from wireguard_mesh.relay.port import MAX_DATAGRAM, SPARE_SOURCES, Complaints, FindRoute, Handle

BATCH: Final = 64
_NOTHING: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


class PlainPort:
    """See `relay.port.Port`. `is_peer`: whether some peer is at a source, which is worth remembering."""

    def __init__(self, sock: socket.socket, is_peer: Callable[[Source], bool], turnstile: Turnstile) -> None:
        self._socket = sock
        self._is_peer = is_peer
        self._turnstile = turnstile
        self._buffer = memoryview(bytearray(MAX_DATAGRAM))
        self._heard: set[Source] = set()
        self._spare = SPARE_SOURCES
        self._receiving = Complaints("cannot receive from the UDP socket")
        self._sending = Complaints("cannot send a packet")
        self._dropped = 0
        sock.setblocking(False)

    @property
    def dropped(self) -> int:
        """Packets that could not be sent."""
        return self._dropped

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def receive(self, handle: Handle, route: FindRoute) -> bool:  # noqa: ARG002  # one by one it spares nothing
        """Give one batch of what waits to `handle`. True: there may be more."""
        for _ in range(BATCH):
            try:
                size, source = self._socket.recvfrom_into(self._buffer)
            except OSError as error:
                if error.errno in _NOTHING:
                    return False
                self._receiving.note(error)  # what an earlier packet met on its way, on some systems
                continue
            if message_type(self._buffer[:size]) is MessageType.INITIATION and not self._may_enter(source):
                continue
            handle(source, self._buffer, 0, size, max(size, 1))
            self._remember(source)
        return True

    def send(self, destination: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
        """Send `buffer[start:end]` in packets of `size` bytes but for the last."""
        if isinstance(destination, WebSource):
            return
        view = memoryview(buffer)
        for at in range(start, end, size):
            try:
                self._socket.sendto(view[at : min(at + size, end)], destination)
            except OSError as error:
                self._dropped += 1
                self._sending.note(error)

    def knows(self, source: Source) -> bool:
        """Whether this source was heard on this socket, as far as is remembered."""
        return source in self._heard

    def _may_enter(self, source: Source) -> bool:
        if source in self._heard:
            return self._turnstile.admits_known(hash(source))
        has_cookie = any(self._buffer[INITIATION_SIZE - MAC_LENGTH : INITIATION_SIZE])
        return self._turnstile.admits(hash(source), has_cookie=has_cookie)

    def _remember(self, source: Source) -> None:
        if source in self._heard or not self._is_peer(source):
            return
        self._heard.add(source)
        if len(self._heard) > self._spare:
            self._heard = {heard for heard in self._heard if self._is_peer(heard)}
            self._spare = 2 * len(self._heard) + SPARE_SOURCES

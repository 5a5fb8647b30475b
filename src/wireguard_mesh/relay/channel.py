"""The control socket between a relay process and its parent, on an event loop.

Nothing is queued here: when the socket has room, the owner is asked for the next message, and makes it of the newest
that there is to say. So a side that does not read costs the other neither memory nor time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.relay.control import Adopt, FrameReader, ToChild, ToParent, frame

M = TypeVar("M")

_READ_BYTES: Final = 256 * 1024
_READS_A_TURN: Final = 4
_DESCRIPTORS_A_READ: Final = 8
_LOST: Final = -1  # in place of a descriptor for which this process had no room
_WAIT: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
_NO_ROOM: Final = (*_WAIT, errno.ENOBUFS, errno.ETOOMANYREFS)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message, and the socket that goes with it, which is closed here when it went."""

    message: ToChild | ToParent
    attached: socket.socket | None = None


class Channel(Generic[M]):
    """One end. `take` gives the next message to send, or None; call `kick` when there is one again.

    `heard` gets each message, with the socket that came with it, if this process had room for one more. `lost` is
    called once, when the other end is gone or cannot be understood; not after `close`.
    """

    def __init__(
        self,
        sock: socket.socket,
        reader: FrameReader[M],
        *,
        take: Callable[[], Outgoing | None],
        heard: Callable[[M, socket.socket | None], None],
        lost: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._reader = reader
        self._take, self._heard, self._lost = take, heard, lost
        self._descriptors: deque[int] = deque()
        self._unsent = memoryview(b"")
        self._attached: socket.socket | None = None
        self._is_waiting = False
        self._is_open = True
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def kick(self) -> None:
        """Send what there is to send, as far as there is room."""
        while self._is_open and not self._is_waiting:
            if not self._unsent:
                outgoing = self._take()
                if outgoing is None:
                    return
                self._unsent, self._attached = memoryview(frame(outgoing.message)), outgoing.attached
            self._write()

    def close(self) -> None:
        """Close the socket, and what came or was to go with it."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._socket.fileno())
        if self._is_waiting:
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._detach()
        while self._descriptors:
            descriptor = self._descriptors.popleft()
            if descriptor != _LOST:
                os.close(descriptor)

    def _write(self) -> None:
        try:
            if self._attached is not None:
                sent = socket.send_fds(self._socket, [self._unsent], [self._attached.fileno()])
            else:
                sent = self._socket.send(self._unsent)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._wait_for_room()
            else:
                self._fail(error.strerror or "it cannot be written to")
            return
        self._detach()
        self._unsent = self._unsent[sent:]

    def _wait_for_room(self) -> None:
        self._is_waiting = True
        self._loop.add_writer(self._socket.fileno(), self._writable)

    def _writable(self) -> None:
        self._is_waiting = False
        self._loop.remove_writer(self._socket.fileno())
        self.kick()

    def _detach(self) -> None:
        if self._attached is not None:
            self._attached.close()
            self._attached = None

    def _readable(self) -> None:
        for _ in range(_READS_A_TURN):
            if not self._is_open or not self._read_once():
                return

    def _read_once(self) -> bool:
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._socket, _READ_BYTES, _DESCRIPTORS_A_READ)
        except OSError as error:
            if error.errno not in _WAIT:
                self._fail(error.strerror or "it cannot be read")
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        if flags & socket.MSG_CTRUNC and not descriptors:
            self._descriptors.append(_LOST)
        if not data:
            self._fail("the other end is gone")
            return False
        try:
            for message in self._reader.feed(data):
                self._heard(message, self._belonging(message))
                if not self._is_open:
                    return False
        except InvalidValue as error:
            self._fail(str(error))
            return False
        return True

    def _belonging(self, message: M) -> socket.socket | None:
        if not isinstance(message, Adopt):
            return None
        if not self._descriptors:
            raise InvalidValue("a connection to adopt came without its descriptor")
        descriptor = self._descriptors.popleft()
        return None if descriptor == _LOST else socket.socket(fileno=descriptor)

    def _fail(self, reason: str) -> None:
        if self._is_open:
            self.close()
            self._lost(reason)

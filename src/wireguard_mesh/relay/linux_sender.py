"""The sending half of `relay.linux`: what goes to one destination in one batch leaves as few messages."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from typing import Final

from wireguard_mesh.relay.linux_layout import (
    BATCH,
    HEADER,
    IOVEC,
    MAX_SEGMENTS,
    MAX_SEND,
    Memory,
    addresses,
    segment_control,
    sendmmsg,
)
from wireguard_mesh.relay.port import Complaints

_CONTROLS_KEPT: Final = 16  # sizes of packets that a destination gets


class Destination:
    """Where messages are sent: its address, and the control messages that go with each size of packets."""

    __slots__ = ("_controls", "_info", "_name", "batch", "message", "name", "name_size")

    def __init__(self, name: bytes) -> None:
        self._name = Memory.of(name)
        self.name = self._name.address
        self.name_size = len(name)
        self._info = b""
        self._controls: dict[int, Memory] = {}
        self.batch = 0
        self.message: Message | None = None

    def leave_from(self, info: bytes) -> None:
        """Send from the local address in this control message; empty: whichever the system chooses."""
        if info != self._info:
            self._info = info
            self._controls.clear()

    @property
    def has_local_address(self) -> bool:
        """Whether it was said from where to send."""
        return bool(self._info)

    def control(self, size: int) -> Memory:
        """The control messages for packets of `size` bytes; 0: one packet. To be held until it was used."""
        known = self._controls.get(size)
        if known is None:
            if len(self._controls) >= _CONTROLS_KEPT:
                self._controls.clear()
            known = self._controls[size] = Memory.of((segment_control(size) if size else b"") + self._info)
        return known


class Message:
    """Packets that leave together: all of `size` bytes but the last."""

    __slots__ = ("control", "count", "destination", "is_full", "pieces", "size", "total")

    def __init__(self, destination: Destination, size: int) -> None:
        self.destination = destination
        self.control: Memory | None = None  # held until it was sent
        self.size = size
        self.pieces: list[int] = []  # address, length, address, length…
        self.total = 0
        self.count = 0
        self.is_full = False


class Sender:
    """Queues pieces of memory for destinations, and sends them with one call. No method raises for the network."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor
        self._headers = Memory(BATCH * HEADER.size)
        self._iovecs = Memory(BATCH * MAX_SEGMENTS * IOVEC.size)
        self._queue: list[Message] = []
        self._batch = 0
        self._most_segments = MAX_SEGMENTS
        self._complaints = Complaints("cannot send a packet")
        self.dropped = 0

    def put(self, destination: Destination, address: int, length: int, size: int) -> None:
        """Queue `length` bytes of memory that stays until `flush`, in packets of `size` bytes but for the last."""
        most = max(1, min(self._most_segments, MAX_SEND // size)) * size
        while length > most:
            self.append(destination, address, most, size)
            address += most
            length -= most
        self.append(destination, address, length, size)

    def append(self, destination: Destination, address: int, length: int, size: int) -> None:
        """The same for what one message can hold."""
        if length <= size:
            size, count = length, 1
        else:
            count = -(-length // size)
        message = destination.message if destination.batch == self._batch else None
        if (
            message is None
            or message.is_full
            or size > message.size
            or (count > 1 and size != message.size)
            or message.count + count > self._most_segments
            or message.total + length > MAX_SEND
        ):
            if len(self._queue) >= BATCH:
                self.flush()
            message = Message(destination, size)
            destination.batch, destination.message = self._batch, message
            self._queue.append(message)
        message.pieces += (address, length)
        message.total += length
        message.count += count
        message.is_full = length % message.size != 0

    def flush(self) -> None:
        """Send all of it."""
        queue, self._queue = self._queue, []
        self._batch += 1
        for message, error in self._transmit(queue):
            singles = list(_singles(message)) if self._may_go_singly(message, error) else []
            for first in range(0, len(singles), BATCH):
                self.dropped += len(self._transmit(singles[first : first + BATCH]))
            if not singles:
                self.dropped += message.count
                self._complaints.note(error)

    def _may_go_singly(self, message: Message, error: OSError) -> bool:
        if error.errno == errno.EIO:  # this machine's network cannot make checksums of segments
            self._most_segments = 1
        elif error.errno == errno.EINVAL and message.destination.has_local_address:
            message.destination.leave_from(b"")  # that address is this machine's no more
        else:
            # Packets that are longer than the way to there allows are fragmented, but not cut out of one piece.
            return message.count > 1 and error.errno in (errno.EINVAL, errno.EMSGSIZE)
        return True

    def _transmit(self, messages: list[Message]) -> list[tuple[Message, OSError]]:
        """Send at most `BATCH` messages; those that could not be sent, and why."""
        used = 0
        for number, message in enumerate(messages):
            pieces, destination = message.pieces, message.destination
            control = message.control = destination.control(message.size if message.count > 1 else 0)
            count = len(pieces) // 2
            at = used * IOVEC.size
            addresses(len(pieces)).pack_into(self._iovecs.data, at, *pieces)
            header = (destination.name, destination.name_size, self._iovecs.address + at, count)
            HEADER.pack_into(self._headers.data, number * HEADER.size, *header, control.address, control.size, 0, 0, 0)
            used += count
        failed = []
        done = 0
        while done < len(messages):
            address = self._headers.address + done * HEADER.size
            sent = sendmmsg(self._fd, address, len(messages) - done, socket.MSG_DONTWAIT)
            if sent > 0:
                done += sent
                continue
            number = ctypes.get_errno()
            if number != errno.EINTR:
                failed.append((messages[done], OSError(number, os.strerror(number))))
                done += 1
        return failed


def _singles(message: Message) -> Iterator[Message]:
    """Each packet as a message."""
    for address, length in zip(message.pieces[::2], message.pieces[1::2], strict=True):
        for at in range(0, length, message.size):
            single = Message(message.destination, message.size)
            single.pieces = [address + at, min(message.size, length - at)]
            single.count = 1
            yield single

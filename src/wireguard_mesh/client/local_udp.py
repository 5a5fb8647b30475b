"""A UDP socket on loopback that speaks with WireGuard's and nobody else.

It is connected, so the kernel takes nothing from any other address or port. On Linux many packets go in one system
call: wireguard-go sends with `UDP_SEGMENT` and takes with `UDP_GRO` (udp(7)), and so do we.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from wireguard_mesh.client.dial import reason
from wireguard_mesh.model.endpoints import MAX_PORT
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.protocol.carrying import MAX_DATAGRAM

LOOPBACK: Final = "127.0.0.1"
# Bytes that the kernel keeps for us while we do something else, or may send no more: the queue of this link. Some
# 300 packets, 35 ms of 100 Mbit/s.
RECEIVE_BUFFER: Final = 512 * 1024
SEND_BUFFER: Final = 2 * 1024 * 1024
MAX_SEGMENTS: Final = 64  # of one call: UDP_MAX_SEGMENTS of Linux
_SOL_UDP: Final = 17  # linux/socket.h
_UDP_SEGMENT: Final = 103  # linux/udp.h
_UDP_GRO: Final = 104
_SEGMENT_SIZE: Final = Struct("=H")
_GRO_SIZE: Final = Struct("=i")
_CANNOT: Final = (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP)  # what a kernel without segmentation answers


class LocalUdp:
    """Connected to `port`. Everything returns at once. Raises `Unavailable` if there is no such socket to be had."""

    def __init__(self, port: int) -> None:
        self._buffer = bytearray(MAX_PORT)
        self._view = memoryview(self._buffer)
        self._has_segments = True
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            with contextlib.suppress(OSError):  # before Linux 5.0, and elsewhere
                self._socket.setsockopt(_SOL_UDP, _UDP_GRO, 1)
            self._socket.bind((LOOPBACK, 0))
            self._socket.connect((LOOPBACK, port))
        except OSError as error:
            self._socket.close()
            raise Unavailable(f"no UDP socket on {LOOPBACK} can be opened ({reason(error)})") from None

    @property
    def port(self) -> int:
        """Its own."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def receive(self, limit: int) -> list[bytes]:
        """The datagrams that wait, of `limit` bytes together or a little more."""
        datagrams: list[bytes] = []
        taken = 0
        while taken < limit:
            try:
                size, extra, _, _ = self._socket.recvmsg_into([self._buffer], socket.CMSG_SPACE(_GRO_SIZE.size))
            except OSError:  # nothing more, or the port at the other end was closed for a moment
                break
            step = _segment_size(extra) or size
            if step >= size:
                datagrams.append(bytes(self._view[:size]))
            else:
                datagrams.extend(bytes(self._view[at : min(at + step, size)]) for at in range(0, size, step))
            taken += max(1, size)
        return datagrams

    def send(self, datagrams: Sequence[bytes]) -> None:
        """Give them to WireGuard; what its socket does not take now is dropped."""
        for run in _runs(datagrams):
            if len(run) == 1 or not self._send_together(run):
                self._send_each(run)

    def _send_together(self, run: Sequence[bytes]) -> bool:
        """Whether this kernel can do that."""
        if self._has_segments:
            size = [(_SOL_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(len(run[0])))]
            try:
                self._socket.sendmsg(run, size)
            except OSError as error:
                self._has_segments = error.errno not in _CANNOT
        return self._has_segments

    def _send_each(self, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            with contextlib.suppress(OSError):
                self._socket.send(datagram)


def _segment_size(extra: list[tuple[int, int, bytes]]) -> int:
    """The bytes of each datagram but the last of those that came as one; 0: it is one."""
    for level, kind, data in extra:
        if (level, kind) == (_SOL_UDP, _UDP_GRO) and len(data) >= _GRO_SIZE.size:
            return int(_GRO_SIZE.unpack_from(data)[0])
    return 0


def _runs(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Those that may go with one call: of one size, the last may be shorter."""
    begin = 0
    total = 0
    for position, datagram in enumerate(datagrams):
        size = len(datagrams[begin])
        is_next = position == begin or (
            len(datagrams[position - 1]) == size
            and 0 < len(datagram) <= size
            and position - begin < MAX_SEGMENTS
            and total + len(datagram) <= MAX_DATAGRAM
        )
        if not is_next:
            yield datagrams[begin:position]
            begin, total = position, 0
        total += len(datagram)
    if datagrams:
        yield datagrams[begin:]

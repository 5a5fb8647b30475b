"""Many datagrams a system call: sendmmsg(2) and recvmmsg(2), which Python lacks, with the offloads of udp(7).

So one process of Python sends and counts as fast as one written in C would.
"""

import ctypes
import errno
import os
import socket
from collections.abc import Sequence
from typing import Final

Address = tuple[str, int]
"""Host and UDP port."""

UDP_SEGMENT, UDP_GRO = 103, 104  # <linux/udp.h>
MAX_SEGMENTS: Final = 64  # of one datagram with UDP_SEGMENT: UDP_MAX_SEGMENTS of older kernels
MAX_SUPER: Final = 65_507  # bytes of a datagram over IPv4
WHOLE_LENGTH: Final = 4096  # bytes of each receive buffer: what is longer is cut off, and its length told
_RECEIVED_AT_ONCE: Final = 64


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


_libc = ctypes.CDLL(None, use_errno=True)
_WORDS: Final = ctypes.sizeof(_Mmsghdr) // 4
_LENGTH_WORD: Final = _Mmsghdr.length.offset // 4


class _Messages:
    """An array of `struct mmsghdr`, one buffer each."""

    def __init__(self, buffers: Sequence["ctypes.Array[ctypes.c_char]"]) -> None:
        self.count = len(buffers)
        self._buffers = buffers  # kept alive as long as the kernel is given their addresses
        self._iovecs = (_Iovec * self.count)(
            *(_Iovec(ctypes.addressof(buffer), ctypes.sizeof(buffer)) for buffer in buffers)
        )
        self.array = (_Mmsghdr * self.count)()
        for number in range(self.count):
            self.array[number].header.iov = ctypes.pointer(self._iovecs[number])
            self.array[number].header.iovlen = 1
        self._words = (ctypes.c_uint32 * (self.count * _WORDS)).from_buffer(self.array)

    @property
    def lengths(self) -> list[int]:
        """`msg_len` of each, as the kernel wrote it."""
        return self._words[_LENGTH_WORD::_WORDS]


class Burst:
    """The same datagrams again and again on a connected socket, `segments` a burst; with `gso` in few large ones."""

    def __init__(self, connected: socket.socket, datagram: bytes, segments: int, *, gso: bool) -> None:
        self._descriptor = connected.fileno()
        size = len(datagram)
        at_once = min(MAX_SEGMENTS, MAX_SUPER // size) if gso else 1
        connected.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size if gso else 0)
        counts = [at_once] * (segments // at_once) + [segments % at_once] * (segments % at_once > 0)
        whole = ctypes.create_string_buffer(datagram * at_once, size * at_once)
        self._messages = _Messages([_first(whole, size * count) for count in counts])

    def send(self) -> None:
        """Send them. Raises `OSError`; what there is no room for is dropped, as by any host."""
        if _libc.sendmmsg(self._descriptor, self._messages.array, self._messages.count, socket.MSG_DONTWAIT) < 0:
            number = ctypes.get_errno()
            if number not in {errno.EAGAIN, errno.ENOBUFS}:
                raise OSError(number, os.strerror(number))


def _first(whole: "ctypes.Array[ctypes.c_char]", size: int) -> "ctypes.Array[ctypes.c_char]":
    return (ctypes.c_char * size).from_buffer(whole)


class Counter:
    """Takes what a socket has received, and counts its bytes. They are not copied: their length is what counts."""

    def __init__(self) -> None:
        one = ctypes.create_string_buffer(WHOLE_LENGTH)
        self._messages = _Messages([one] * _RECEIVED_AT_ONCE)

    def take(self, descriptor: int) -> int:
        """The bytes of all datagrams that wait, or of the first so many."""
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC
        count = _libc.recvmmsg(descriptor, self._messages.array, self._messages.count, flags, None)
        return sum(self._messages.lengths[:count]) if count > 0 else 0

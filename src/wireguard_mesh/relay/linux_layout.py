"""How 64-bit little-endian Linux lays out what `recvmmsg` and `sendmmsg` take, and the calls themselves.

`struct mmsghdr` and `struct iovec` of recvmmsg(2), `struct cmsghdr` of cmsg(3), socket addresses of ip(7) and ipv6(7).
"""

from __future__ import annotations

import ctypes
import socket
from functools import lru_cache
from struct import Struct
from typing import Final

from wireguard_mesh.core.sources import UdpSource
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE, MessageType

BATCH: Final = 64  # messages a call
ROOM: Final = 1 << 16  # bytes of a message
MAX_SEGMENTS: Final = 64  # UDP_MAX_SEGMENTS, <linux/udp.h> before 6.9
MAX_SEND: Final = 65535 - 8 - 40  # an IPv6 packet less its headers
SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103  # <linux/udp.h>
UDP_GRO: Final = 104
IP_PKTINFO: Final = 8  # <linux/in.h>
IPV6_RECVPKTINFO: Final = 49  # <linux/in6.h>
IPV6_PKTINFO: Final = 50

HEADER: Final = Struct("@QIxxxxQQQQiiIxxxx")  # name, its length, iovecs, how many, control, its length, flags, result
IOVEC: Final = Struct("@QQ")
CONTROL: Final = Struct("@Qii")  # cmsghdr: length, level, type
NAME_ROOM: Final = 32
NAME_SIZES: Final = {socket.AF_INET: 16, socket.AF_INET6: 28}
CONTROL_ROOM: Final = 96
WORDS: Final = HEADER.size // 4
CONTROL_WORDS: Final = CONTROL_ROOM // 4
TYPE_MASK: Final = 0xFFFF_FFFF
TRANSPORT: Final = MessageType.TRANSPORT.value
INITIATION: Final = MessageType.INITIATION.value
MAC2_HALF: Final = INITIATION_SIZE // 8 - 1  # eight bytes of an initiation's mac2, counted in eights
GRO: Final = SOL_UDP | UDP_GRO << 32  # level and type of a control message, as one number
TRUNCATED: Final = 0x20  # MSG_TRUNC
_SEGMENT_CONTROL: Final = Struct("@QiiHxxxxxx")
_IN6: Final = Struct("=H2sI16sI")  # sockaddr_in6
_IN4: Final = Struct("=H2s4s")
_IN4_PADDING: Final = 8
_LINK_LOCAL: Final = b"\xfe\x80"
_ALIGNMENT: Final = 8

_libc: Final = ctypes.CDLL(None, use_errno=True)
recvmmsg: Final = _libc.recvmmsg
recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
sendmmsg: Final = _libc.sendmmsg
sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class Memory:
    """Bytes that stay where they are, so that the kernel can be given their address."""

    __slots__ = ("_owner", "address", "data", "size", "view")

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = bytearray(size)
        self._owner = (ctypes.c_char * size).from_buffer(self.data)  # also keeps it from being resized
        self.address = ctypes.addressof(self._owner)
        self.view = memoryview(self.data)

    @classmethod
    def of(cls, data: bytes) -> Memory:
        """These bytes."""
        memory = cls(len(data))
        memory.data[:] = data
        return memory


def source_of(family: int, name: bytes) -> UdpSource:
    """What `socket.recvfrom` would give."""
    if family == socket.AF_INET:
        _, port, address = _IN4.unpack_from(name)
        return socket.inet_ntop(socket.AF_INET, address), int.from_bytes(port, "big")
    _, port, flow, address, scope = _IN6.unpack(name)
    return socket.inet_ntop(socket.AF_INET6, address), int.from_bytes(port, "big"), socket.ntohl(flow), scope


def name_of(source: UdpSource) -> bytes:
    """The other way round."""
    host, port = source[0].partition("%")[0], source[1].to_bytes(2, "big")
    if len(source) == 2:
        return _IN4.pack(socket.AF_INET, port, socket.inet_pton(socket.AF_INET, host)) + bytes(_IN4_PADDING)
    address = socket.inet_pton(socket.AF_INET6, host)
    return _IN6.pack(socket.AF_INET6, port, socket.htonl(source[2]), address, source[3])


def segment_control(size: int) -> bytes:
    """The control message that has a message cut into packets of `size` bytes."""
    return _SEGMENT_CONTROL.pack(CONTROL.size + 2, SOL_UDP, UDP_SEGMENT, size)


def local_address(controls: bytes | bytearray) -> bytes:
    """Out of what came with a message, the control message that makes an answer leave from where that came to.

    The interface is left to the system, but for link-local addresses, which mean nothing without.
    """
    at = 0
    while at + CONTROL.size <= len(controls):
        length, level, kind = CONTROL.unpack_from(controls, at)
        value = bytes(controls[at + CONTROL.size : at + length])
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO):
            address, index = value[:16], value[16:] if value[:2] == _LINK_LOCAL else bytes(4)
            return CONTROL.pack(length, level, kind) + address + index + bytes(4)
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return CONTROL.pack(length, level, kind) + bytes(4) + value[4:8] + bytes(8)
        at += max(_ALIGNMENT, -(-length // _ALIGNMENT) * _ALIGNMENT)
    return b""


@lru_cache(maxsize=2 * MAX_SEGMENTS)
def addresses(count: int) -> Struct:
    """So many addresses and lengths."""
    return Struct(f"@{count}Q")

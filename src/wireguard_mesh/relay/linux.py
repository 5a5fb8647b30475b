"""UDP on Linux with as few system calls as possible.

`recvmmsg` and `sendmmsg` move many messages with one call. With `UDP_GRO` a message is up to 64 packets of one sender,
with `UDP_SEGMENT` one that the kernel, or the network card, cuts into packets again (udp(7)). What is forwarded is not
copied here: it leaves out of the buffer into which it came, and packets to the same destination leave as one message,
also if they came as several. Python's own `socket` has neither call, so the structures are laid out here, for 64-bit
little-endian machines: `struct mmsghdr` and `struct iovec` of recvmmsg(2), `struct cmsghdr` of cmsg(3).

On a socket for all addresses of the machine, each answer leaves from the address to which its receiver sent
(`IPV6_PKTINFO`, RFC 3542 section 6; `IP_PKTINFO`, ip(7)): behind a NAT it would be refused from any other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterator
from functools import lru_cache
from struct import Struct
from typing import Final

from wireguard_mesh.core.forwarding import Buffer
from wireguard_mesh.core.sources import Source, UdpSource, WebSource
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE, KEEPALIVE_SIZE, MessageType
from wireguard_mesh.relay.port import SPARE_SOURCES, Complaints, FindRoute, Handle

BATCH: Final = 64  # messages a call
ROOM: Final = 1 << 16  # bytes of a message
MAX_SEGMENTS: Final = 64  # UDP_MAX_SEGMENTS, <linux/udp.h> before 6.9
MAX_SEND: Final = 65535 - 8 - 40  # an IPv6 packet less its headers
SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103  # <linux/udp.h>
UDP_GRO: Final = 104
_IP_PKTINFO: Final = 8  # <linux/in.h>
_IPV6_RECVPKTINFO: Final = 49  # <linux/in6.h>
_IPV6_PKTINFO: Final = 50

_HEADER: Final = Struct("@QIxxxxQQQQiiIxxxx")  # name, its length, iovecs, how many, control, its length, flags, result
_IOVEC: Final = Struct("@QQ")
_CONTROL: Final = Struct("@Qii")  # cmsghdr: length, level, type
_SEGMENT_CONTROL: Final = Struct("@QiiHxxxxxx")
_IN6: Final = Struct("=H2sI16sI")  # sockaddr_in6
_IN4: Final = Struct("=H2s4s")
_NAME_ROOM: Final = 32
_NAME_SIZES: Final = {socket.AF_INET: 16, socket.AF_INET6: 28}
_CONTROL_ROOM: Final = 96
_WORDS: Final = _HEADER.size // 4
_CONTROL_WORDS: Final = _CONTROL_ROOM // 4
_TYPE: Final = 0xFFFF_FFFF
_TRANSPORT: Final = MessageType.TRANSPORT.value
_GRO: Final = SOL_UDP | UDP_GRO << 32  # level and type of a control message, as one number
_REMEMBERED: Final = (KEEPALIVE_SIZE, INITIATION_SIZE)  # sizes of what says anew to which address a peer sends
_LINK_LOCAL: Final = b"\xfe\x80"
_TRUNCATED: Final = 0x20  # MSG_TRUNC
_NOTHING: Final = (errno.EAGAIN, errno.EINTR)
_CONTROLS_KEPT: Final = 16  # sizes of packets that a destination gets

_libc: Final = ctypes.CDLL(None, use_errno=True)
_recvmmsg: Final = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg: Final = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class _Memory:
    """Bytes that stay where they are, so that the kernel can be given their address."""

    __slots__ = ("_owner", "address", "data", "view")

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self._owner = (ctypes.c_char * size).from_buffer(self.data)  # also keeps it from being resized
        self.address = ctypes.addressof(self._owner)
        self.view = memoryview(self.data)


class _Destination:
    """Where messages are sent: its address, and the control messages that go with each size of packets."""

    __slots__ = ("_controls", "_info", "_name", "batch", "message", "name", "name_size")

    def __init__(self, name: bytes) -> None:
        self._name = _Memory(len(name))
        self._name.data[:] = name
        self.name = self._name.address
        self.name_size = len(name)
        self._info = b""
        self._controls: dict[int, tuple[_Memory, int]] = {}
        self.batch = 0
        self.message: _Message | None = None

    def leave_from(self, info: bytes) -> None:
        """Send from the local address in this control message; empty: whichever the system chooses."""
        if info != self._info:
            self._info = info
            self._controls.clear()

    @property
    def has_local_address(self) -> bool:
        return bool(self._info)

    def control(self, size: int) -> tuple[int, int]:
        """Address and length of the control messages for packets of `size` bytes; 0: one packet."""
        known = self._controls.get(size)
        if known is None:
            if len(self._controls) >= _CONTROLS_KEPT:
                self._controls.clear()
            segment = _SEGMENT_CONTROL.pack(_CONTROL.size + 2, SOL_UDP, UDP_SEGMENT, size) if size else b""
            control = segment + self._info
            memory = _Memory(max(1, len(control)))
            memory.data[: len(control)] = control
            known = self._controls[size] = (memory, len(control))
        return known[0].address, known[1]


class _Message:
    """Packets that leave together: all of `size` bytes but the last."""

    __slots__ = ("count", "destination", "is_full", "pieces", "size", "total")

    def __init__(self, destination: _Destination, size: int) -> None:
        self.destination = destination
        self.size = size
        self.pieces: list[int] = []  # address, length, address, length…
        self.total = 0
        self.count = 0
        self.is_full = False


class LinuxPort:
    """See `relay.port.Port`. `is_peer`: whether some peer is at a source, which is worth remembering."""

    def __init__(self, sock: socket.socket, is_peer: Callable[[Source], bool]) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._family = sock.family
        self._is_peer = is_peer
        self._data = _Memory(BATCH * ROOM)
        self._names = _Memory(BATCH * _NAME_ROOM)
        self._controls = _Memory(BATCH * _CONTROL_ROOM)
        self._iovecs = _Memory(BATCH * _IOVEC.size)
        self._headers = _Memory(BATCH * _HEADER.size)
        self._template = self._lay_out()
        self._words = self._headers.view.cast("I")
        self._kinds = self._controls.view.cast("Q")
        self._values = self._controls.view.cast("I")
        self._heads = self._data.view.cast("Q")
        self._out_headers = _Memory(BATCH * _HEADER.size)
        self._out_iovecs = _Memory(BATCH * MAX_SEGMENTS * _IOVEC.size)
        self._sources: dict[bytes, UdpSource] = {}
        self._destinations: dict[Source, _Destination] = {}
        self._spare = SPARE_SOURCES
        self._queue: list[_Message] = []
        self._batch = 0
        self._most_segments = MAX_SEGMENTS
        self._stranger: tuple[UdpSource | None, int, int] = (None, 0, 0)
        self._is_receiving = False
        self._receiving = Complaints("cannot receive from the UDP socket")
        self._sending = Complaints("cannot send a packet")
        self.dropped = 0
        sock.setblocking(False)
        self._enable()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def knows(self, source: Source) -> bool:
        """Whether this source was heard on this socket, as far as is remembered."""
        return source in self._destinations

    def receive(self, handle: Handle, route: FindRoute) -> bool:
        """Give one batch of what waits to `handle`. True: there may be more."""
        self._headers.data[:] = self._template
        count = _recvmmsg(self._fd, self._headers.address, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            number = ctypes.get_errno()
            if number in _NOTHING:
                return False
            self._receiving.note(OSError(number, os.strerror(number)))
            return False
        self._is_receiving = True
        try:
            self._take(count, handle, route)
        finally:
            self._is_receiving = False
            self._stranger = (None, 0, 0)
            self._flush()
        return bool(count == BATCH)

    def _take(self, count: int, handle: Handle, route: FindRoute) -> None:
        words = self._words
        sizes = words[14 : count * _WORDS : _WORDS].tolist()
        flags = words[12 : count * _WORDS : _WORDS].tolist()
        controls = words[10 : count * _WORDS : _WORDS].tolist()
        kinds = self._kinds[1 : count * _CONTROL_WORDS // 2 : _CONTROL_WORDS // 2].tolist()
        heads = self._heads[: count * ROOM // 8 : ROOM // 8].tolist()
        names = bytes(self._names.view[: count * _NAME_ROOM])
        name_size = _NAME_SIZES[self._family]
        sources = self._sources
        flows: dict[tuple[UdpSource, int], list[int]] = {}
        for number in range(count):
            at = number * _NAME_ROOM
            source = sources.get(names[at : at + name_size])
            is_piece = kinds[number] == _GRO and controls[number]
            head = heads[number]
            if source is not None and not is_piece and head & _TYPE == _TRANSPORT and sizes[number] > KEEPALIVE_SIZE:
                flow = flows.get((source, head))
                if flow is None:
                    flows[source, head] = [number]
                else:
                    flow.append(number)
            elif not flags[number] & _TRUNCATED:
                each = self._values[4 + number * _CONTROL_WORDS] if is_piece else sizes[number]
                self._take_one(number, source, names[at : at + name_size], sizes[number], each, handle)
        # After the others, which may have told where somebody is.
        for (source, head), numbers in flows.items():
            self._take_flow(source, head, numbers, sizes, handle, route)

    def _take_one(
        self, number: int, known: UdpSource | None, name: bytes, size: int, each: int, handle: Handle
    ) -> None:
        source = known or _source(self._family, name)
        control_size = self._words[10 + number * _WORDS]
        if known is None:
            self._stranger = (source, number, control_size)
        handle(source, self._data.data, number * ROOM, number * ROOM + size, each or 1)
        if known is None or size in _REMEMBERED:
            self._remember(source, name, number, control_size)

    def _take_flow(
        self, source: UdpSource, head: int, numbers: list[int], sizes: list[int], handle: Handle, route: FindRoute
    ) -> None:
        total = sum([sizes[number] for number in numbers])
        destination = route(source, head, len(numbers), total)
        if destination is None:
            for number in numbers:
                handle(source, self._data.data, number * ROOM, number * ROOM + sizes[number], sizes[number])
            return
        known = self._destinations.get(destination) or self._destination(destination)
        if known is None:  # a peer of another family, which this socket does not reach
            return
        for number in numbers:
            self._append(known, self._data.address + number * ROOM, sizes[number], sizes[number])

    def send(self, destination: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
        """Send `buffer[start:end]` in packets of `size` bytes but for the last; outside of `receive`, at once."""
        known = self._destinations.get(destination) or self._destination(destination)
        if known is None:
            return
        if buffer is self._data.data and self._is_receiving:
            self._queue_piece(known, self._data.address + start, end - start, size)
            return
        copy = ctypes.create_string_buffer(bytes(buffer[start:end]), end - start)
        # What was queued before leaves before; and the copy lives only as long as this call.
        self._queue_piece(known, ctypes.addressof(copy), end - start, size)
        self._flush()

    def _queue_piece(self, destination: _Destination, address: int, length: int, size: int) -> None:
        most = max(1, min(MAX_SEGMENTS, MAX_SEND // size)) * size
        while length > most:
            self._append(destination, address, most, size)
            address += most
            length -= most
        self._append(destination, address, length, size)

    def _append(self, destination: _Destination, address: int, length: int, size: int) -> None:
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
                self._flush()
            message = _Message(destination, size)
            destination.batch, destination.message = self._batch, message
            self._queue.append(message)
        message.pieces += (address, length)
        message.total += length
        message.count += count
        message.is_full = length % message.size != 0

    def _flush(self) -> None:
        queue, self._queue = self._queue, []
        self._batch += 1
        for message, error in self._transmit(queue):
            singles = list(_singles(message)) if self._may_go_singly(message, error) else []
            for first in range(0, len(singles), BATCH):
                self.dropped += len(self._transmit(singles[first : first + BATCH]))
            if not singles:
                self.dropped += message.count
                self._sending.note(error)

    def _may_go_singly(self, message: _Message, error: OSError) -> bool:
        if error.errno == errno.EIO:  # this machine's network cannot make checksums of segments
            self._most_segments = 1
        elif error.errno == errno.EINVAL and message.destination.has_local_address:
            message.destination.leave_from(b"")  # that address is this machine's no more
        else:
            # Packets that are longer than the way to there allows are fragmented, but not cut out of one piece.
            return message.count > 1 and error.errno in (errno.EINVAL, errno.EMSGSIZE)
        return True

    def _transmit(self, messages: list[_Message]) -> list[tuple[_Message, OSError]]:
        """Send at most `BATCH` messages; those that could not be sent, and why."""
        used = 0
        for number, message in enumerate(messages):
            pieces, destination = message.pieces, message.destination
            control, control_size = destination.control(message.size if message.count > 1 else 0)
            count = len(pieces) // 2
            at = used * _IOVEC.size
            _numbers(len(pieces)).pack_into(self._out_iovecs.data, at, *pieces)
            header = (destination.name, destination.name_size, self._out_iovecs.address + at, count)
            _HEADER.pack_into(self._out_headers.data, number * _HEADER.size, *header, control, control_size, 0, 0, 0)
            used += count
        failed = []
        done = 0
        while done < len(messages):
            address = self._out_headers.address + done * _HEADER.size
            sent = _sendmmsg(self._fd, address, len(messages) - done, socket.MSG_DONTWAIT)
            if sent > 0:
                done += sent
                continue
            number = ctypes.get_errno()
            if number != errno.EINTR:
                failed.append((messages[done], OSError(number, os.strerror(number))))
                done += 1
        return failed

    def _remember(self, source: UdpSource, name: bytes, number: int, control_size: int) -> None:
        if not self._is_peer(source):
            return
        known = self._destinations.get(source)
        if known is None:
            known = self._destinations[source] = _Destination(name)
        self._sources[name] = source
        known.leave_from(self._local_address(number, control_size))
        if len(self._destinations) > self._spare:
            self._tidy_up()

    def _tidy_up(self) -> None:
        self._sources = {name: source for name, source in self._sources.items() if self._is_peer(source)}
        self._destinations = {source: known for source, known in self._destinations.items() if self._is_peer(source)}
        self._spare = 2 * len(self._destinations) + SPARE_SOURCES

    def _destination(self, source: Source) -> _Destination | None:
        """One that is not remembered: a stranger that is answered, or a peer out of the journal."""
        if isinstance(source, WebSource) or (len(source) == 2) != (self._family == socket.AF_INET):
            return None
        made = _Destination(_name(source))
        if source == self._stranger[0]:
            made.leave_from(self._local_address(*self._stranger[1:]))
        elif self._is_peer(source):
            self._destinations[source] = made
        return made

    def _local_address(self, number: int, size: int) -> bytes:
        """The control message that makes an answer leave from where message `number` came to."""
        at = number * _CONTROL_ROOM
        end = at + size
        while at + _CONTROL.size <= end:
            length, level, kind = _CONTROL.unpack_from(self._controls.data, at)
            value = bytes(self._controls.data[at + _CONTROL.size : at + length])
            if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
                address, index = value[:16], value[16:] if value[:2] == _LINK_LOCAL else bytes(4)
                return _CONTROL.pack(length, level, kind) + address + index + bytes(4)
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                return _CONTROL.pack(length, level, kind) + bytes(4) + value[4:8] + bytes(8)
            at += -(-length // 8) * 8
        return b""

    def _lay_out(self) -> bytes:
        for number in range(BATCH):
            _IOVEC.pack_into(self._iovecs.data, number * _IOVEC.size, self._data.address + number * ROOM, ROOM)
            _HEADER.pack_into(
                self._headers.data,
                number * _HEADER.size,
                self._names.address + number * _NAME_ROOM,
                _NAME_ROOM,
                self._iovecs.address + number * _IOVEC.size,
                1,
                self._controls.address + number * _CONTROL_ROOM,
                _CONTROL_ROOM,
                0,
                0,
                0,
            )
        return bytes(self._headers.data)

    def _enable(self) -> None:
        try:
            self._socket.setsockopt(SOL_UDP, UDP_GRO, 1)
        except OSError as error:  # before Linux 5.0
            self._receiving.note(error)
        if self._family == socket.AF_INET6 and self._socket.getsockname()[0] == "::":
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        elif self._family == socket.AF_INET and self._socket.getsockname()[0] == "0.0.0.0":
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _source(family: int, name: bytes) -> UdpSource:
    """What `socket.recvfrom` would give."""
    if family == socket.AF_INET:
        _, port, address = _IN4.unpack_from(name)
        return socket.inet_ntop(socket.AF_INET, address), int.from_bytes(port, "big")
    _, port, flow, address, scope = _IN6.unpack(name)
    return socket.inet_ntop(socket.AF_INET6, address), int.from_bytes(port, "big"), socket.ntohl(flow), scope


def _name(source: UdpSource) -> bytes:
    """The other way round."""
    host, port = source[0].partition("%")[0], source[1].to_bytes(2, "big")
    if len(source) == 2:
        return _IN4.pack(socket.AF_INET, port, socket.inet_pton(socket.AF_INET, host)) + bytes(8)
    address = socket.inet_pton(socket.AF_INET6, host)
    return _IN6.pack(socket.AF_INET6, port, socket.htonl(source[2]), address, source[3])


def _singles(message: _Message) -> Iterator[_Message]:
    """Each packet as a message."""
    for address, length in zip(message.pieces[::2], message.pieces[1::2], strict=True):
        for at in range(0, length, message.size):
            single = _Message(message.destination, message.size)
            single.pieces = [address + at, min(message.size, length - at)]
            single.count = 1
            yield single


@lru_cache(maxsize=2 * MAX_SEGMENTS)
def _numbers(count: int) -> Struct:
    return Struct(f"@{count}Q")

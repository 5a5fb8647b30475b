"""UDP on Linux with as few system calls as possible.

`recvmmsg` and `sendmmsg` move many messages with one call. With `UDP_GRO` a message is up to 64 packets of one sender,
with `UDP_SEGMENT` one that the kernel, or the network card, cuts into packets again (udp(7)). What is forwarded is not
copied here: it leaves out of the buffer into which it came, and packets to the same destination leave as one message,
also if they came as several (`relay.linux_sender`). Python's own `socket` has neither call, so the kernel's structures
are laid out by hand (`relay.linux_layout`).

On a socket for all addresses of the machine, each answer leaves from the address to which its receiver sent
(`IPV6_PKTINFO`, RFC 3542 section 6; `IP_PKTINFO`, ip(7)): behind a NAT it would be refused from any other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from wireguard_mesh.core.forwarding import Buffer
from wireguard_mesh.core.sources import Source, UdpSource, WebSource
from wireguard_mesh.core.turnstile import HEARD_OF_STRANGERS, Turnstile
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE, KEEPALIVE_SIZE
from wireguard_mesh.relay.linux_layout import (
    BATCH,
    CONTROL_ROOM,
    CONTROL_WORDS,
    GRO,
    HEADER,
    INITIATION,
    IOVEC,
    IP_PKTINFO,
    IPV6_RECVPKTINFO,
    MAC2_HALF,
    NAME_ROOM,
    NAME_SIZES,
    ROOM,
    SOL_UDP,
    TRANSPORT,
    TRUNCATED,
    TYPE_MASK,
    UDP_GRO,
    WORDS,
    Memory,
    local_address,
    name_of,
    recvmmsg,
    source_of,
)
from wireguard_mesh.relay.linux_sender import Destination, Sender
from wireguard_mesh.relay.port import SPARE_SOURCES, Complaints, FindRoute, Handle

_NOTHING: Final = (errno.EAGAIN, errno.EINTR)
_REMEMBERED: Final = (KEEPALIVE_SIZE, INITIATION_SIZE)  # sizes of what says anew to which address a peer sends


class LinuxPort:
    """See `relay.port.Port`. `is_peer`: whether some peer is at a source, which is worth remembering."""

    def __init__(self, sock: socket.socket, is_peer: Callable[[Source], bool], turnstile: Turnstile) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._family = sock.family
        self._is_peer = is_peer
        self._turnstile = turnstile
        self._data = Memory(BATCH * ROOM)
        self._names = Memory(BATCH * NAME_ROOM)
        self._controls = Memory(BATCH * CONTROL_ROOM)
        self._iovecs = Memory(BATCH * IOVEC.size)
        self._headers = Memory(BATCH * HEADER.size)
        self._template = self._lay_out()
        self._words = self._headers.view.cast("I")
        self._kinds = self._controls.view.cast("Q")
        self._values = self._controls.view.cast("I")
        self._heads = self._data.view.cast("Q")
        self._sources: dict[bytes, UdpSource] = {}
        self._destinations: dict[Source, Destination] = {}
        self._spare = SPARE_SOURCES
        self._sender = Sender(self._fd)
        self._stranger: tuple[UdpSource | None, int, int] = (None, 0, 0)
        self._is_receiving = False
        self._receiving = Complaints("cannot receive from the UDP socket")
        sock.setblocking(False)
        self._enable()

    @property
    def dropped(self) -> int:
        """Packets that could not be sent."""
        return self._sender.dropped

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def knows(self, source: Source) -> bool:
        """Whether this source was heard on this socket, as far as is remembered."""
        return source in self._destinations

    def receive(self, handle: Handle, route: FindRoute) -> bool:
        """Give one batch of what waits to `handle`. True: there may be more."""
        self._headers.data[:] = self._template
        count = recvmmsg(self._fd, self._headers.address, BATCH, socket.MSG_DONTWAIT, None)
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
            self._sender.flush()
        return bool(count == BATCH)

    def _take(self, count: int, handle: Handle, route: FindRoute) -> None:
        words = self._words
        sizes = words[14 : count * WORDS : WORDS].tolist()
        flags = words[12 : count * WORDS : WORDS].tolist()
        controls = words[10 : count * WORDS : WORDS].tolist()
        kinds = self._kinds[1 : count * CONTROL_WORDS // 2 : CONTROL_WORDS // 2].tolist()
        heads = self._heads[: count * ROOM // 8 : ROOM // 8].tolist()
        names = bytes(self._names.view[: count * NAME_ROOM])
        name_size = NAME_SIZES[self._family]
        sources = self._sources
        flows: dict[tuple[UdpSource, int], list[int]] = {}
        for number in range(count):
            at = number * NAME_ROOM
            name = names[at : at + name_size]
            source = sources.get(name)
            is_piece = kinds[number] == GRO and controls[number]
            head = heads[number]
            if head & TYPE_MASK == INITIATION and not self._may_enter(number, source, hash(name)):
                continue
            if source is not None and not is_piece and head & TYPE_MASK == TRANSPORT and sizes[number] > KEEPALIVE_SIZE:
                flow = flows.get((source, head))
                if flow is None:
                    flows[source, head] = [number]
                else:
                    flow.append(number)
            elif not flags[number] & TRUNCATED:
                each = self._values[4 + number * CONTROL_WORDS] if is_piece else sizes[number]
                if head & TYPE_MASK == INITIATION and self._turnstile.is_flooded:
                    sizes[number] = min(sizes[number], each)  # one entered
                self._take_one(number, source, name, sizes[number], each, handle)
        # After the others, which may have told where somebody is.
        for (source, head), numbers in flows.items():
            self._take_flow(source, head, numbers, sizes, handle, route)

    def _may_enter(self, number: int, source: UdpSource | None, name: int) -> bool:
        if source is not None:
            return self._turnstile.admits_known(name)
        return self._turnstile.admits(name, has_cookie=self._heads[number * ROOM // 8 + MAC2_HALF] != 0)

    def _take_one(
        self, number: int, known: UdpSource | None, name: bytes, size: int, each: int, handle: Handle
    ) -> None:
        source = known or source_of(self._family, name)
        if known is None and size == each and not self._is_heard(number, source, size):
            self._turnstile.ignored += 1
            return
        control_size = self._words[10 + number * WORDS]
        if known is None:
            self._stranger = (source, number, control_size)
        handle(source, self._data.data, number * ROOM, number * ROOM + size, each or 1)
        if known is None or size in _REMEMBERED:
            self._remember(source, name, number, control_size)

    def _is_heard(self, number: int, source: UdpSource, size: int) -> bool:
        kind = self._heads[number * ROOM // 8] & TYPE_MASK
        return (kind, size) in HEARD_OF_STRANGERS or self._is_peer(source)

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
            self._sender.append(known, self._data.address + number * ROOM, sizes[number], sizes[number])

    def send(self, destination: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
        """Send `buffer[start:end]` in packets of `size` bytes but for the last; outside of `receive`, at once."""
        known = self._destinations.get(destination) or self._destination(destination)
        if known is None:
            return
        if buffer is self._data.data and self._is_receiving:
            self._sender.put(known, self._data.address + start, end - start, size)
            return
        copy = ctypes.create_string_buffer(bytes(buffer[start:end]), end - start)
        # What was queued before leaves before; and the copy lives only as long as this call.
        self._sender.put(known, ctypes.addressof(copy), end - start, size)
        self._sender.flush()

    def _remember(self, source: UdpSource, name: bytes, number: int, control_size: int) -> None:
        if not self._is_peer(source):
            return
        known = self._destinations.get(source)
        if known is None:
            known = self._destinations[source] = Destination(name)
        self._sources[name] = source
        known.leave_from(self._local_address(number, control_size))
        if len(self._destinations) > self._spare:
            self._tidy_up()

    def _tidy_up(self) -> None:
        self._sources = {name: source for name, source in self._sources.items() if self._is_peer(source)}
        self._destinations = {source: known for source, known in self._destinations.items() if self._is_peer(source)}
        self._spare = 2 * len(self._destinations) + SPARE_SOURCES

    def _destination(self, source: Source) -> Destination | None:
        """One that is not remembered: a stranger that is answered, or a peer out of the journal."""
        if isinstance(source, WebSource) or (len(source) == 2) != (self._family == socket.AF_INET):
            return None
        made = Destination(name_of(source))
        if source == self._stranger[0]:
            made.leave_from(self._local_address(*self._stranger[1:]))
        elif self._is_peer(source):
            self._destinations[source] = made
        return made

    def _local_address(self, number: int, size: int) -> bytes:
        """What makes an answer leave from where message `number` came to."""
        at = number * CONTROL_ROOM
        return local_address(self._controls.data[at : at + size])

    def _lay_out(self) -> bytes:
        for number in range(BATCH):
            IOVEC.pack_into(self._iovecs.data, number * IOVEC.size, self._data.address + number * ROOM, ROOM)
            HEADER.pack_into(
                self._headers.data,
                number * HEADER.size,
                self._names.address + number * NAME_ROOM,
                NAME_ROOM,
                self._iovecs.address + number * IOVEC.size,
                1,
                self._controls.address + number * CONTROL_ROOM,
                CONTROL_ROOM,
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
            self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        elif self._family == socket.AF_INET and self._socket.getsockname()[0] == "0.0.0.0":
            self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)

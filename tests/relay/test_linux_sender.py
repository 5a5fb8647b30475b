"""What is put together, and what becomes of messages that the kernel refuses."""

from __future__ import annotations

import ctypes
import errno
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.relay import linux_sender
from wireguard_mesh.relay.linux_layout import BATCH, HEADER, MAX_SEGMENTS, MAX_SEND, Memory, name_of
from wireguard_mesh.relay.linux_sender import Destination, Sender

FD = 77


@dataclass
class Kernel:
    """Takes what a sender sends, and refuses what it is told to refuse."""

    sent: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    refuse_segments: int = 0
    refuse_local: int = 0
    refuse_all: int = 0
    interrupt: bool = False
    calls: int = 0

    def sendmmsg(self, fd: int, address: int, count: int, _flags: int) -> int:
        assert fd == FD
        assert 1 <= count <= BATCH
        self.calls += 1
        if self.interrupt:
            self.interrupt = False
            ctypes.set_errno(errno.EINTR)
            return -1
        for number in range(count):
            error = self._take(address + number * HEADER.size)
            if error:
                ctypes.set_errno(error)
                return number or -1
        return count

    def _take(self, address: int) -> int:
        name, name_size, iovec, pieces, control, control_size, *_ = HEADER.unpack(
            ctypes.string_at(address, HEADER.size)
        )
        parts = (ctypes.c_uint64 * (2 * pieces)).from_address(iovec)
        data = b"".join(ctypes.string_at(parts[2 * at], parts[2 * at + 1]) for at in range(pieces))
        controls = ctypes.string_at(control, control_size)
        segment = int.from_bytes(controls[16:18], "little") if controls[8:16] == _SEGMENT else 0
        if self.refuse_all:
            return self.refuse_all
        if self.refuse_segments and segment:
            return self.refuse_segments
        if self.refuse_local and len(controls) > (24 if segment else 0):
            return self.refuse_local
        self.sent.append((ctypes.string_at(name, name_size), data, segment))
        return 0

    def packets(self) -> list[tuple[bytes, bytes]]:
        """What goes over the wire."""
        return [
            (name, data[at : at + (segment or len(data))])
            for name, data, segment in self.sent
            for at in range(0, len(data), segment or len(data))
        ]


_SEGMENT = b"\x11\0\0\0\x67\0\0\0"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(linux_sender, "sendmmsg", kernel.sendmmsg)
    return kernel


def destination(number: int) -> Destination:
    return Destination(name_of((f"192.0.2.{number}", 51820)))


def test_packets_of_one_size_leave_as_one_message(kernel: Kernel) -> None:
    sender, to, memory = Sender(FD), destination(1), Memory.of(bytes(range(250)))
    for at in range(0, 250, 100):
        sender.put(to, memory.address + at, min(100, 250 - at), 100)
    sender.flush()
    assert kernel.sent == [(name_of(("192.0.2.1", 51820)), bytes(range(250)), 100)]
    assert kernel.calls == 1


def test_a_flush_without_anything_calls_nobody(kernel: Kernel) -> None:
    Sender(FD).flush()
    assert kernel.calls == 0


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([40, 100, 1400, 30000]), st.integers(1, 90), st.integers(1, 40))
    )
)
def test_whatever_is_put_arrives_in_order(puts: list[tuple[int, int, int, int]]) -> None:
    kernel = Kernel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linux_sender, "sendmmsg", kernel.sendmmsg)
        sender, to = Sender(FD), {number: destination(number) for number in range(1, 4)}
        memory = Memory.of(bytes(at % 251 for at in range(65535)))
        wanted: dict[bytes, list[bytes]] = {}
        for number, size, count, last in puts:
            length = min((count - 1) * size + last, 65535)
            sender.put(to[number], memory.address, length, size)
            name = name_of((f"192.0.2.{number}", 51820))
            wanted.setdefault(name, []).extend(
                bytes(memory.data[at : min(at + size, length)]) for at in range(0, length, size)
            )
        sender.flush()
    got: dict[bytes, list[bytes]] = {}
    for name, packet in kernel.packets():
        got.setdefault(name, []).append(packet)
    assert got == wanted
    assert all(
        len(data) <= MAX_SEND and -(-len(data) // (size or len(data))) <= MAX_SEGMENTS for _, data, size in kernel.sent
    )


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EMSGSIZE, errno.EIO])
def test_where_pieces_are_refused_packets_go_one_by_one(kernel: Kernel, error: int) -> None:
    sender, memory = Sender(FD), Memory.of(bytes(range(250)))
    kernel.refuse_segments = error
    for number in (1, 2, 3):
        sender.put(destination(number), memory.address, 250, 100)
    sender.flush()
    assert sender.dropped == 0
    assert len(kernel.packets()) == 9
    calls = kernel.calls
    sender.put(destination(1), memory.address, 250, 100)
    sender.flush()
    assert len(kernel.packets()) == 12
    if error == errno.EIO:
        assert kernel.calls == calls + 1, "a machine that cannot is not asked again"


def test_an_address_that_is_gone_is_not_insisted_on(kernel: Kernel) -> None:
    sender, to, memory = Sender(FD), destination(1), Memory.of(bytes(range(100)))
    to.leave_from(bytes(40))
    assert to.has_local_address
    kernel.refuse_local = errno.EINVAL
    sender.put(to, memory.address, 100, 100)
    sender.flush()
    assert [data for _, data, _ in kernel.sent] == [bytes(range(100))]
    assert not to.has_local_address


def test_what_cannot_go_at_all_is_counted(kernel: Kernel) -> None:
    sender, memory = Sender(FD), Memory.of(bytes(250))
    kernel.refuse_all = errno.ENOBUFS
    sender.put(destination(1), memory.address, 250, 100)
    sender.flush()
    assert sender.dropped == 3
    kernel.refuse_all = errno.EINVAL
    sender.put(destination(1), memory.address, 250, 100)
    sender.flush()
    assert sender.dropped == 6


def test_a_signal_in_between_loses_nothing(kernel: Kernel) -> None:
    sender, memory = Sender(FD), Memory.of(b"once")
    kernel.interrupt = True
    sender.put(destination(1), memory.address, 4, 4)
    sender.flush()
    assert [data for _, data, _ in kernel.sent] == [b"once"]


def test_many_sizes_at_once_keep_their_own(kernel: Kernel) -> None:
    sender, to, memory = Sender(FD), destination(1), Memory.of(bytes(4000))
    sizes = range(40, 40 + 50)
    for size in sizes:
        sender.put(to, memory.address, 2 * size - 1, size)
    sender.flush()
    assert [size for _, _, size in kernel.sent] == list(sizes)

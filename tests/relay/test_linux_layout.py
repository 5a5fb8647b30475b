"""The kernel's structures."""

from __future__ import annotations

import ctypes
import socket
import struct

import pytest

from wireguard_mesh.core.sources import UdpSource
from wireguard_mesh.relay import linux_layout
from wireguard_mesh.relay.linux_layout import Memory, local_address, name_of, segment_control, source_of


@pytest.mark.parametrize(
    ("family", "source"),
    [
        (socket.AF_INET, ("192.0.2.1", 51820)),
        (socket.AF_INET6, ("2001:db8::1", 1, 0, 0)),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 65535, 0, 0)),
        (socket.AF_INET6, ("fe80::1", 8080, 7, 3)),
    ],
)
def test_names_are_sources(family: socket.AddressFamily, source: UdpSource) -> None:
    name = name_of(source)
    assert len(name) == linux_layout.NAME_SIZES[family]
    assert source_of(family, name) == source


def test_the_kernel_agrees() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        name = name_of(("::1", 0, 0, 0))
        libc = ctypes.CDLL(None)
        assert libc.bind(sock.fileno(), name, len(name)) == 0
        assert sock.getsockname()[0] == "::1"


def test_the_scope_in_a_name_is_a_number_of_its_own() -> None:
    assert name_of(("fe80::1%eth0", 1, 0, 3)) == name_of(("fe80::1", 1, 0, 3))


def test_headers_have_the_kernels_sizes() -> None:
    assert (linux_layout.HEADER.size, linux_layout.IOVEC.size, linux_layout.CONTROL.size) == (64, 16, 16)
    assert len(segment_control(1400)) == socket.CMSG_SPACE(2)


def test_an_answer_leaves_from_where_its_question_came_to() -> None:
    gro = struct.pack("@QiiIxxxx", 20, 17, 104, 1400)
    address = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1")
    info = struct.pack("@Qii16sIxxxx", 36, 41, 50, address, 5)
    assert local_address(gro + info) == struct.pack("@Qii16sIxxxx", 36, 41, 50, address, 0)
    near = struct.pack("@Qii16sIxxxx", 36, 41, 50, socket.inet_pton(socket.AF_INET6, "fe80::1"), 5)
    assert local_address(near) == near, "a link-local address means nothing without its link"
    four = struct.pack("@QiiI4s4sxxxx", 28, 0, 8, 5, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 255]))
    assert local_address(four) == struct.pack("@QiiI4s4sxxxx", 28, 0, 8, 0, bytes([192, 0, 2, 1]), bytes(4))


@pytest.mark.parametrize("controls", [b"", bytes(15), bytes(96), struct.pack("@QiiIxxxx", 20, 17, 104, 1400)])
def test_without_word_of_it_the_system_chooses(controls: bytes) -> None:
    assert local_address(controls) == b""


def test_memory_stays_where_it_is() -> None:
    memory = Memory.of(b"abc")
    assert ctypes.string_at(memory.address, 3) == b"abc"
    memory.data[0:1] = b"x"
    assert ctypes.string_at(memory.address, 3) == b"xbc"
    with pytest.raises(BufferError):
        memory.data.append(0)
    assert Memory.of(b"").size == 0

"""One netlink socket: errors, interrupted tables, answers that come late or make no sense."""

import errno
from collections.abc import Iterator
from typing import cast

import pytest

from wireguard_mesh.model.errors import NotPermitted, Unavailable
from wireguard_mesh.netlink.codec import NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, encode_message
from wireguard_mesh.netlink.connection import DUMP_ATTEMPTS, NETLINK_ROUTE, NetlinkConnection, NetlinkError
from wireguard_mesh.netlink.records import RTM_GETLINK, decode_link, encode_link


class Kernel:
    """Stands in for the socket: gives these datagrams, made for the present sequence number."""

    def __init__(self, *kinds: tuple[int, int, int, bytes]) -> None:
        self.kinds = kinds  # kind, flags, offset of the sequence number, payload
        self.asked = 0
        self._given = 0

    def send(self, _data: bytes) -> None:
        self.asked += 1
        self._given = 0

    def recv(self, _size: int) -> bytes:
        if self._given == len(self.kinds):
            raise BlockingIOError(errno.EAGAIN, "nothing there")
        kind, flags, offset, payload = self.kinds[self._given]
        self._given += 1
        return encode_message(kind, flags, self.asked + offset, payload)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def connection() -> Iterator[NetlinkConnection]:
    connection = NetlinkConnection(NETLINK_ROUTE)
    yield connection
    connection.close()


def with_kernel(connection: NetlinkConnection, kernel: Kernel) -> NetlinkConnection:
    connection.close()
    cast("dict[str, object]", connection.__dict__)["_socket"] = kernel
    return connection


def test_a_request_and_a_dump(connection: NetlinkConnection) -> None:
    loopback = decode_link(connection.request(RTM_GETLINK, encode_link(name="lo"))[0])
    assert loopback.name == "lo"
    assert loopback in [decode_link(payload) for payload in connection.dump(RTM_GETLINK, encode_link())]
    assert connection.port > 0


def test_the_kernels_refusal_has_its_errno_and_words(connection: NetlinkConnection) -> None:
    with pytest.raises(NetlinkError) as raised:
        connection.request(RTM_GETLINK, encode_link(name="no-such-link"))
    assert raised.value.errno == errno.ENODEV
    assert isinstance(raised.value.as_mesh_error("it cannot be read"), Unavailable)
    assert isinstance(NetlinkError(errno.EPERM, "no").as_mesh_error("it cannot be set"), NotPermitted)


def test_a_table_that_changes_while_it_is_read_is_read_again(connection: NetlinkConnection) -> None:
    kernel = Kernel((RTM_GETLINK, NLM_F_DUMP_INTR, 0, b"part"), (NLMSG_DONE, 0, 0, bytes(4)))
    with pytest.raises(NetlinkError) as raised:
        with_kernel(connection, kernel).dump(RTM_GETLINK, b"")
    assert raised.value.errno == errno.EAGAIN
    assert kernel.asked == DUMP_ATTEMPTS


def test_the_end_of_a_dump_may_be_a_failure(connection: NetlinkConnection) -> None:
    kernel = Kernel((RTM_GETLINK, 0, 0, b"part"), (NLMSG_DONE, 0, 0, (-errno.EBUSY).to_bytes(4, "little", signed=True)))
    with pytest.raises(NetlinkError) as raised:
        with_kernel(connection, kernel).dump(RTM_GETLINK, b"")
    assert raised.value.errno == errno.EBUSY


def test_the_rest_of_an_older_answer_is_left_out(connection: NetlinkConnection) -> None:
    kernel = Kernel((RTM_GETLINK, 0, -1, b"old!"), (RTM_GETLINK, 0, 0, b"new!"), (NLMSG_ERROR, 0, 0, bytes(4)))
    assert with_kernel(connection, kernel).request(RTM_GETLINK, b"") == [b"new!"]


def test_silence_and_nonsense_are_errors(connection: NetlinkConnection) -> None:
    with pytest.raises(NetlinkError) as raised:
        with_kernel(connection, Kernel()).request(RTM_GETLINK, b"")
    assert raised.value.errno == errno.ETIMEDOUT
    with pytest.raises(NetlinkError) as raised:
        with_kernel(connection, Kernel((NLMSG_ERROR, 0, 1, b""))).request(RTM_GETLINK, b"")
    assert raised.value.errno == errno.EBADMSG

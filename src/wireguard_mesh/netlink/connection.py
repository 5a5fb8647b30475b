"""One netlink socket, kept open: a request, and the kernel's whole answer.

The kernel carries a request out within the `send`, and its answer lies ready to be read: there is nothing to wait for,
so this is plain synchronous code that may be called from the event loop. `RECEIVE_TIMEOUT` only guards against a kernel
that breaks this promise.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final

from wireguard_mesh.model.errors import InvalidValue, MeshError, NotPermitted, Unavailable
from wireguard_mesh.netlink.codec import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    decode_error,
    decode_messages,
    encode_message,
)

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12
NETLINK_GENERIC: Final = 16

SOL_NETLINK: Final = 270
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12

RECEIVE_TIMEOUT: Final = 5.0  # seconds
DUMP_ATTEMPTS: Final = 8  # a table that changes while it is read is read again
BUFFER: Final = 65536  # the kernel never makes a part of a dump longer than 32 KiB (net/netlink/af_netlink.c)
_TIMEVAL: Final = struct.Struct("@ll")


class NetlinkError(OSError):
    """The kernel refused a request: `errno` and its own words."""

    def as_mesh_error(self, what: str) -> MeshError:
        """The error for a person, where the caller knows nothing better."""
        if self.errno in (errno.EPERM, errno.EACCES):
            return NotPermitted(f"{what}: not permitted", "run as root, or with the capability CAP_NET_ADMIN")
        return Unavailable(f"{what}: {self.strerror}")


class NetlinkConnection:
    """Requests to one netlink family (`NETLINK_ROUTE`, …), one at a time, in the namespace where it was made."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sequence = 0
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            timeout = _TIMEVAL.pack(int(RECEIVE_TIMEOUT), 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
            self._socket.bind((0, 0))
            self.port: int = self._socket.getsockname()[0]
        except OSError:
            self._socket.close()
            raise

    def request(self, kind: int, payload: bytes, flags: int = 0) -> list[bytes]:
        """Send one request; the payloads of its answer, none for a mere change. Raises `NetlinkError`."""
        return [message.payload for message in self._exchange(kind, NLM_F_REQUEST | NLM_F_ACK | flags, payload)]

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """Read a whole table, consistently. Raises `NetlinkError`."""
        for _ in range(DUMP_ATTEMPTS):
            answer = self._exchange(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)
            if not any(message.flags & NLM_F_DUMP_INTR for message in answer):
                return [message.payload for message in answer]
        raise NetlinkError(errno.EAGAIN, "the kernel's table changed each time it was read")

    def _exchange(self, kind: int, flags: int, payload: bytes) -> list[Message]:
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        self._socket.send(encode_message(kind, flags, self._sequence, payload))
        answer: list[Message] = []
        while True:
            try:
                datagram = self._socket.recv(BUFFER)
            except BlockingIOError:
                raise NetlinkError(errno.ETIMEDOUT, "the kernel did not answer") from None
            try:
                done = self._collect(datagram, answer)
            except InvalidValue as error:
                raise NetlinkError(errno.EBADMSG, str(error)) from None
            if done:
                return answer

    def _collect(self, datagram: bytes, answer: list[Message]) -> bool:
        """Add what belongs to the present request; whether it was the last of it."""
        for message in decode_messages(datagram):
            if message.sequence != self._sequence:
                continue  # the rest of an answer that a timeout gave up
            if message.kind == NLMSG_DONE and message.flags & NLM_F_DUMP_INTR:
                answer.append(message._replace(payload=b""))
            if message.kind in (NLMSG_DONE, NLMSG_ERROR):  # both begin with an error code
                code, said = decode_error(message)
                if code:
                    raise NetlinkError(code, said or os.strerror(code))
                return True
            answer.append(message)
        return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

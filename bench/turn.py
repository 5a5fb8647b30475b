"""As much of a TURN client as a measurement needs: an allocation, and channels in it (RFC 8656, RFC 8489 for STUN)."""

import os
import socket
import struct
import time

from bench.datagrams import Address

MAGIC_COOKIE = 0x2112A442  # RFC 8489, section 5
ALLOCATE, CHANNEL_BIND = 0x0003, 0x0009  # requests, RFC 8656, section 17
SUCCESS = 0x0100  # added to a request's type
CHANNEL_NUMBER, LIFETIME, XOR_PEER_ADDRESS = 0x000C, 0x000D, 0x0012
XOR_RELAYED_ADDRESS, REQUESTED_TRANSPORT = 0x0016, 0x0019
FIRST_CHANNEL = 0x4000  # RFC 8656, section 12
UDP = 17
IPV4 = 0x01

TRIES, FIRST_WAIT = 8, 0.1  # each wait is twice as long as the one before, RFC 8489, section 6.2.1

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_XOR_ADDRESS = struct.Struct("!xBHI")
_CHANNEL_DATA = struct.Struct("!HH")
CHANNEL_HEADER = _CHANNEL_DATA.size


class TurnRefused(Exception):
    """The TURN server answered with an error, or not at all."""


def allocate(connected: socket.socket, lifetime: int) -> Address:
    """An address of the server's from which it will pass on what comes; the socket is connected to the server."""
    answer = _ask(connected, ALLOCATE, [(REQUESTED_TRANSPORT, bytes((UDP, 0, 0, 0))), (LIFETIME, lifetime.to_bytes(4))])
    return _plain(answer[XOR_RELAYED_ADDRESS])


def bind_channel(connected: socket.socket, peer: Address, channel: int = FIRST_CHANNEL) -> None:
    """Have a channel number stand for the peer, and let the peer send to us."""
    _ask(connected, CHANNEL_BIND, [(CHANNEL_NUMBER, struct.pack("!HH", channel, 0)), (XOR_PEER_ADDRESS, _xor(peer))])


def channel_data(payload: bytes, channel: int = FIRST_CHANNEL) -> bytes:
    """What goes to the server for the peer of the channel."""
    return _CHANNEL_DATA.pack(channel, len(payload)) + payload


def _ask(connected: socket.socket, kind: int, attributes: list[tuple[int, bytes]]) -> dict[int, bytes]:
    """The attributes of the answer. Raises `TurnRefused`."""
    transaction = os.urandom(12)
    body = b"".join(_ATTRIBUTE.pack(name, len(value)) + value for name, value in attributes)
    request = _HEADER.pack(kind, len(body), MAGIC_COOKIE, transaction) + body
    for attempt in range(TRIES):
        wait = FIRST_WAIT * 2**attempt
        answer = _exchange(connected, request, transaction, wait)
        if answer is None:
            continue
        if int.from_bytes(answer[:2]) != kind + SUCCESS:
            raise TurnRefused(f"the TURN server refused request {kind:#06x}: {answer[_HEADER.size :]!r}")
        return _attributes(answer[_HEADER.size :])
    raise TurnRefused(f"the TURN server does not answer request {kind:#06x}")


def _exchange(connected: socket.socket, request: bytes, transaction: bytes, wait: float) -> bytes | None:
    deadline = time.monotonic() + wait
    try:
        connected.send(request)
        while (left := deadline - time.monotonic()) > 0:
            connected.settimeout(left)
            answer = connected.recv(2048)
            if len(answer) >= _HEADER.size and answer[8:20] == transaction:
                return answer
    except TimeoutError:
        return None
    except ConnectionRefusedError:  # it does not listen yet
        time.sleep(max(0.0, deadline - time.monotonic()))
    return None


def _attributes(body: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(body):
        name, length = _ATTRIBUTE.unpack_from(body, offset)
        offset += _ATTRIBUTE.size
        found[name] = body[offset : offset + length]
        offset += length + -length % 4  # padded to 4 bytes, RFC 8489, section 14
    return found


def _xor(address: Address) -> bytes:
    host, port = address
    number = int.from_bytes(socket.inet_aton(host))
    return _XOR_ADDRESS.pack(IPV4, port ^ MAGIC_COOKIE >> 16, number ^ MAGIC_COOKIE)


def _plain(value: bytes) -> Address:
    _family, port, number = _XOR_ADDRESS.unpack(value)
    return socket.inet_ntoa((number ^ MAGIC_COOKIE).to_bytes(4)), port ^ MAGIC_COOKIE >> 16

"""What a TURN client of a measurement says and hears."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from bench import turn

RELAYED = ("192.0.2.1", 32853)
XORED = bytes.fromhex("0001a147e112a643")  # the same, RFC 5769, section 2.2
PEER = ("127.0.0.1", 9)


class Server(threading.Thread):
    """Answers each request as it is told, and keeps it."""

    def __init__(self, *answers: bytes | None) -> None:
        super().__init__(daemon=True)
        self.endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.endpoint.bind(("127.0.0.1", 0))
        self.endpoint.settimeout(5)
        self.answers = answers
        self.requests: list[bytes] = []

    def run(self) -> None:
        with self.endpoint:
            for answer in self.answers:
                request, sender = self.endpoint.recvfrom(2048)
                self.requests.append(request)
                if answer is not None:
                    self.endpoint.sendto(answer[:8] + request[8:20] + answer[8:], sender)


def head(kind: int, body: bytes) -> bytes:
    """An answer without its transaction."""
    return struct.pack("!HHI", kind, len(body), turn.MAGIC_COOKIE) + body


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        yield endpoint


def serve(client: socket.socket, *answers: bytes | None) -> Server:
    server = Server(*answers)
    client.connect(server.endpoint.getsockname())
    server.start()
    return server


def test_an_allocation_gives_an_address(client: socket.socket) -> None:
    software = struct.pack("!HH", 0x8022, 3) + b"abc\0"  # padded
    relayed = struct.pack("!HH", turn.XOR_RELAYED_ADDRESS, 8) + XORED
    server = serve(client, head(turn.ALLOCATE + turn.SUCCESS, software + relayed))
    assert turn.allocate(client, 600) == RELAYED
    server.join()
    (request,) = server.requests
    assert request[:2] == b"\0\x03"
    assert request[20:28] == bytes.fromhex("0019000411000000")
    assert request[28:] == bytes.fromhex("000d000400000258")


def test_a_request_that_is_lost_is_sent_again(client: socket.socket) -> None:
    server = serve(client, None, head(turn.CHANNEL_BIND + turn.SUCCESS, b""))
    turn.bind_channel(client, RELAYED)
    server.join()
    first, second = server.requests
    assert first == second
    assert first[20:28] == bytes.fromhex("000c000440000000")
    assert first[28:] == struct.pack("!HH", turn.XOR_PEER_ADDRESS, 8) + XORED


def test_a_refusal_is_an_error(client: socket.socket) -> None:
    server = serve(client, head(0x0113, struct.pack("!HH", 0x0009, 4) + b"\0\0\x04\x01"))
    with pytest.raises(turn.TurnRefused, match="refused"):
        turn.allocate(client, 600)
    server.join()


def test_channel_data_has_its_length() -> None:
    assert turn.channel_data(b"hello") == b"\x40\0\0\x05hello"
    assert len(turn.channel_data(b"")) == turn.CHANNEL_HEADER

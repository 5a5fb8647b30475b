"""A steady flow of numbered UDP datagrams, and what of it arrives.

It runs in a host: `numbered.py send ADDRESS MBIT_PER_SECOND` sends until it is ended, from before there is a way;
`numbered.py receive` prints one line of JSON about the flow when it is ended.
"""

import contextlib
import signal
import socket
import struct
import sys
import time
from itertools import pairwise
from types import FrameType

import msgspec

PORT = 5201
PACKET = 1400  # bytes, with the headers of IP and UDP
_HEADERS = 28  # IPv4 and UDP: RFC 791, RFC 768
_NUMBER = struct.Struct("!Q")
_BEHIND = 0.005  # seconds; a sender that was stopped for longer does not make up for it in one burst
_RECEIVE_BUFFER = 16 * 1024 * 1024  # bytes: what the receiver itself drops would count as lost on the way
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h


class Gap(msgspec.Struct, frozen=True):
    """Datagrams that never came: how many in a row, and when the next one did (Unix seconds)."""

    lost: int
    at: float


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the flow from the first datagram that arrived to the last. `late`: behind a later one."""

    sent: int
    received: int
    late: int
    gaps: list[Gap]

    @property
    def lost(self) -> int:
        return self.sent - self.received

    @property
    def percent(self) -> float:
        return 100 * self.lost / self.sent


def summary(numbers: list[int], times: list[float]) -> Received:
    """Of the numbers in the order in which they came; times are Unix seconds."""
    when: dict[int, float] = {}
    late, newest = 0, -1
    for number, moment in zip(numbers, times, strict=True):
        late += number < newest
        newest = max(newest, number)
        when.setdefault(number, moment)
    ordered = sorted(when)
    gaps = [Gap(after - before - 1, when[after]) for before, after in pairwise(ordered) if after - before > 1]
    sent = ordered[-1] - ordered[0] + 1 if ordered else 0
    return Received(sent=sent, received=len(ordered), late=late, gaps=gaps)


class _Ended(Exception):
    """SIGTERM came."""


def _end(_number: int, _frame: FrameType | None) -> None:
    raise _Ended


def _send(address: str, megabits: float) -> None:
    interval = PACKET * 8 / (megabits * 1e6)
    padding = bytes(PACKET - _HEADERS - _NUMBER.size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        print("ready", flush=True)
        number, due = 0, time.monotonic()
        while True:
            with contextlib.suppress(OSError):  # no route yet
                sock.sendto(_NUMBER.pack(number) + padding, (address, PORT))
            number += 1
            due = max(due + interval, time.monotonic() - _BEHIND)
            time.sleep(max(0.0, due - time.monotonic()))


def _receive() -> None:
    numbers: list[int] = []
    times: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        sock.bind(("0.0.0.0", PORT))
        print("ready", flush=True)
        with contextlib.suppress(_Ended):
            while True:
                data = sock.recv(PACKET)
                times.append(time.time())
                numbers.append(_NUMBER.unpack_from(data)[0])
    count = min(len(numbers), len(times))  # the signal may have come between the two
    print(msgspec.json.encode(summary(numbers[:count], times[:count])).decode(), flush=True)


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    with contextlib.suppress(_Ended):
        if sys.argv[1] == "send":
            _send(sys.argv[2], float(sys.argv[3]))
        else:
            _receive()


if __name__ == "__main__":
    main()

"""A steady stream of pings from one host to another, to count what an event costs in packets.

ping(8) of iputils does the sending; its sequence numbers tell what was lost.
"""

import re
import signal
import time
from dataclasses import dataclass
from itertools import pairwise

from lab.errors import LabError
from lab.host import Host

_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+) ", re.MULTILINE)
_SENT = re.compile(r"^(\d+) packets transmitted", re.MULTILINE)
_SEQUENCE_NUMBERS = 1 << 16  # RFC 792: the field has 16 bits
_LAST_REPLY_TIMEOUT = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """`at` is the time of the answer in seconds since the epoch, `sequence` starts with 1 and never wraps."""

    at: float
    sequence: int


@dataclass(frozen=True, slots=True)
class Losses:
    """What became of a stream. `longest_gap` is the longest run of lost packets, in seconds of sending."""

    sent: int
    received: int
    longest_gap: float

    @property
    def lost(self) -> int:
        return self.sent - self.received

    def __str__(self) -> str:
        return f"{self.lost} of {self.sent} packets lost, longest gap {self.longest_gap:.2f} s"


class ReplyReader:
    """Reads answers out of the output of `ping -D` as it grows."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self._read = 0

    def read(self, output: str) -> None:
        """Take the whole output until now; what was read before is not read again."""
        for found in _REPLY.finditer(output, self._read):
            previous = self.replies[-1].sequence if self.replies else 0
            # The nearest number to the previous one that has these 16 bits: late answers may go back a little.
            half = _SEQUENCE_NUMBERS // 2
            step = (int(found[2]) - previous + half) % _SEQUENCE_NUMBERS - half
            self.replies.append(Reply(float(found[1]), previous + step))
            self._read = found.end()


class Probe:
    """Pings `address` from `host`, `rate` times a second, from the making of this object until `stop`."""

    def __init__(self, host: Host, address: object, rate: int = 100, size: int = 56) -> None:
        self._interval = 1 / rate
        self._reader = ReplyReader()
        self._process = host.start("ping", "-n", "-D", "-i", f"{self._interval:.4f}", "-s", size, address)

    def replies(self) -> list[Reply]:
        """The answers until now, in order of arrival."""
        self._reader.read(self._process.output())
        return self._reader.replies

    def wait_for_replies(self, number: int = 1, timeout: float = 10.0) -> Reply:
        """Wait for so many more answers than there were at the time of the call; `LabError` when they stay out."""
        wanted = len(self.replies()) + number
        deadline = time.monotonic() + timeout
        while len(replies := self.replies()) < wanted:
            if time.monotonic() > deadline or not self._process.running:
                raise LabError(f"no answer to a ping within {timeout:g} s:\n{self._process.output()[-2000:]}")
            time.sleep(self._interval)
        return replies[-1]

    def wait_for_reply(self, timeout: float = 10.0) -> Reply:
        """Wait for one more answer."""
        return self.wait_for_replies(1, timeout)

    def stop(self) -> Losses:
        """End the stream and count.

        Packets still on their way count neither as sent nor as lost: when the stream flows, all up to one
        more answer are counted, and when no answer comes within two seconds, all that was sent.
        """
        try:
            last = self.wait_for_reply(_LAST_REPLY_TIMEOUT).sequence
        except LabError:
            last = 0
        self._process.signal(signal.SIGINT)
        self._process.wait()
        output = self._process.output()
        summary = _SENT.search(output)
        if summary is None:
            raise LabError(f"ping has no summary:\n{output[-2000:]}")
        return count(self.replies(), last or int(summary[1]), self._interval)


def count(replies: list[Reply], sent: int, interval: float) -> Losses:
    """Losses among the packets numbered 1 to `sent`; an answer that came twice counts once."""
    answered = sorted({reply.sequence for reply in replies if reply.sequence <= sent})
    edges = [0, *answered, sent + 1]
    longest = max(later - earlier - 1 for earlier, later in pairwise(edges))
    return Losses(sent, len(answered), longest * interval)

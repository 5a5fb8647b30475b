"""Load on a relay: pairs of sockets with a relay between them, a flood through it, and the time of a round trip.

Who sends and who counts share the second core; the relay has the first alone. Who counts goes first.
"""

import multiprocessing
import os
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Final

import msgspec

from bench.datagrams import UDP_GRO, Burst, Counter
from bench.usage import usage

RELAY_CPU: Final = 0
LOAD_CPU: Final = 1
SETTLE: Final = 0.4  # seconds of load before it is measured
NICE: Final = 10  # of who sends: who counts has its turn first
SO_RCVBUFFORCE: Final = 33  # <asm-generic/socket.h>
RECEIVE_BUFFER: Final = 4 << 20  # bytes, with SO_RCVBUFFORCE
BURST: Final = 46  # packets one pair sends before the next has its turn: 64 kB of 1,400 bytes
PING_LIMIT: Final = 1.0  # seconds
_REST: Final = 0.0005  # seconds


class Pair(msgspec.Struct, frozen=True):
    """Two sockets with a relay between. `datagram`: what `near` sends to the relay so that `size` bytes reach `far`;
    `answer`: the same the other way."""

    near: socket.socket
    far: socket.socket
    datagram: bytes
    answer: bytes
    size: int


class Flood(msgspec.Struct, frozen=True):
    """What came through while as much was sent as one core can: in bytes of UDP payload that arrived."""

    seconds: float
    received: int
    packet: int
    cpu: float

    @property
    def gigabits(self) -> float:
        """Gbit/s."""
        return self.received * 8e-9 / self.seconds

    @property
    def packets(self) -> float:
        """Packets a second."""
        return self.received / self.packet / self.seconds

    @property
    def cpu_per_gigabit(self) -> float:
        """The relay's processor seconds for each Gbit."""
        return self.cpu / (self.received * 8e-9)


def flood(pairs: Sequence[Pair], relay_pids: Sequence[int], seconds: float, *, gso: bool) -> Flood:
    """All pairs at once, in one direction."""
    begin = time.monotonic() + SETTLE
    end = begin + seconds
    spawn = multiprocessing.get_context("fork")
    ours, theirs = spawn.Pipe(duplex=False)
    counting = spawn.Process(target=_count, args=(pairs, begin, end, theirs), daemon=True)
    sending = spawn.Process(target=_send, args=(pairs, end, gso), daemon=True)
    with on_core(LOAD_CPU):
        counting.start()
        sending.start()
    theirs.close()
    time.sleep(max(0.0, begin - time.monotonic()))
    before, start = _cpu(relay_pids), time.monotonic()
    time.sleep(max(0.0, end - time.monotonic()))
    cpu = (_cpu(relay_pids) - before) * seconds / (time.monotonic() - start)
    try:
        received: int = ours.recv()
    except EOFError:
        raise RuntimeError("the process that counts what comes through has failed") from None
    sending.join()
    counting.join()
    return Flood(seconds, received, pairs[0].size, cpu)


def round_trips(pair: Pair, count: int) -> list[float]:
    """Seconds of `count` exchanges one after the other, on an idle relay."""
    with on_core(LOAD_CPU):
        return [round_trip(pair) for _ in range(count)]


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def prepare(endpoint: socket.socket) -> socket.socket:
    """Room for bursts, and large datagrams where the kernel has joined small ones."""
    endpoint.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    endpoint.settimeout(PING_LIMIT)
    return endpoint


@contextmanager
def on_core(cpu: int) -> Iterator[None]:
    """Have this process, and what it starts meanwhile, on one core; on all that it may use if that one is not there."""
    allowed = set(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu} & allowed or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def round_trip(pair: Pair) -> float:
    """Seconds of one exchange. Raises `TimeoutError` if something of it is lost."""
    start = time.perf_counter()
    pair.near.send(pair.datagram)
    pair.far.recv(2048)
    pair.far.send(pair.answer)
    pair.near.recv(2048)
    return time.perf_counter() - start


def _cpu(pids: Sequence[int]) -> float:
    return sum(usage(pid).cpu for pid in pids)


def _send(pairs: Sequence[Pair], end: float, gso: bool) -> None:
    os.nice(NICE)
    sends: list[Callable[[], None]] = [Burst(pair.near, pair.datagram, BURST, gso=gso).send for pair in pairs]
    while time.monotonic() < end:
        for send in sends:
            send()


def _count(pairs: Sequence[Pair], begin: float, end: float, answer: Connection) -> None:
    poll, counter, received = select.epoll(), Counter(), 0
    for pair in pairs:
        pair.far.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        poll.register(pair.far, select.EPOLLIN)
    while (now := time.monotonic()) < end:
        arrived = sum(counter.take(descriptor) for descriptor, _ in poll.poll(0.0))
        if now >= begin:
            received += arrived
        if not arrived:
            time.sleep(_REST)  # not woken for each packet: the core is the sender's
    answer.send(received)

"""What the rendezvous costs a relay: handshakes and keepalives that one core answers, memory, and 10,000 real peers.

The relay process has the first core, the peers the second. Rates are per second of the relay's processor time, so that
what else the machine does is not in them.
"""

import socket
import time
from collections.abc import Iterator
from typing import Final

from bench.relay_load import LOAD_CPU, on_core
from bench.relay_process import RelayProcess, allow_open_files
from bench.report import Figure, median
from bench.swarm import AT_ONCE, Member, Swarm, names
from bench.usage import usage
from lab import Lab

PEERS: Final = 10_000
ROUNDS: Final = 3
HANDSHAKES: Final = 1500  # a round
KEEPALIVES: Final = 8000  # a round, no more than the socket holds
KEEPALIVE: Final = 25.0  # seconds, as agents have it
REKEY: Final = 120.0  # seconds, REKEY_AFTER_TIME of the WireGuard paper, section 6.1
LIVE_SECONDS: Final = 60.0
_TICK: Final = 0.05
_QUIET: Final = 0.5
_COUNTS_WITHIN: Final = 10.0  # seconds, many times what it takes


def measure() -> list[Figure]:
    """All of it, in one relay's life."""
    allow_open_files()
    with Lab("bench-rendezvous") as lab, on_core(LOAD_CPU):
        lan = lab.switch("lan", "10.8.0.0/24")
        host, outside = lab.host("relay", lan), lab.host("peers", lan)
        relay = RelayProcess(host, names(PEERS))
        empty = usage(relay.pid).rss
        with outside.machine.network():
            swarm = Swarm(PEERS, relay.vantages, _open)
        swarm.shake_hands(swarm.members)
        full = usage(relay.pid).rss
        figures = [
            Figure(name=f"rendezvous: memory, {PEERS:,} peers registered", value=empty, unit="MB"),
            Figure(
                name=f"rendezvous: memory for {PEERS:,} peers",
                value=full - empty,
                unit="MB",
                note="sessions at two vantage points each",
            ),
        ]
        return [*figures, _handshakes(relay, swarm), _keepalives(relay, swarm), _live(relay, swarm)]


def _open() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _handshakes(relay: RelayProcess, swarm: Swarm) -> Figure:
    """Answers a second; what the peers have to compute for it is done before."""
    rates, walls = [], []
    for number in range(ROUNDS):
        members = swarm.members[number * HANDSHAKES : (number + 1) * HANDSHAKES]
        ready = [(member, member.initiation()) for member in members]
        before, start = usage(relay.pid).cpu, time.monotonic()
        answered = _ask(swarm, ready)
        walls.append(answered / (time.monotonic() - start))
        rates.append(answered / (usage(relay.pid).cpu - before))
    return median("rendezvous: handshakes a second of one core", rates, "/s", note=f"{max(walls):.0f} by the clock")


def _ask(swarm: Swarm, ready: list[tuple[Member, bytes]]) -> int:
    """Send so that few are under way at a time; how many were answered, with a session or with a cookie."""
    answered, sent = 0, 0
    silent_since = time.monotonic()
    while answered < len(ready) and time.monotonic() - silent_since < _QUIET:
        for member, datagram in ready[sent : answered + AT_ONCE]:
            member.send(datagram)
            sent += 1
        for member, datagram in swarm.received(_TICK):
            answered += 1
            silent_since = time.monotonic()
            if member.take(datagram):
                member.send(member.keepalive())
    return answered


def _keepalives(relay: RelayProcess, swarm: Swarm) -> Figure:
    rates = []
    for _ in range(ROUNDS):
        ready = [(member, member.keepalive()) for member in swarm.members[:KEEPALIVES]]
        received = _settled(relay)
        before = usage(relay.pid).cpu
        for member, datagram in ready:
            member.send(datagram)
        time.sleep(_QUIET)
        cpu = usage(relay.pid).cpu - before
        rates.append((_settled(relay) - received) / cpu)
    return median("rendezvous: keepalives a second of one core", rates, "/s", note=f"{KEEPALIVES} of as many sources")


def _settled(relay: RelayProcess) -> float:
    """How many datagrams the relay had received when it counted for the next time."""
    seen = relay.reports
    deadline = time.monotonic() + _COUNTS_WITHIN
    while relay.reports == seen and time.monotonic() < deadline:
        time.sleep(_TICK)
    return relay.counts["received"]


def _live(relay: RelayProcess, swarm: Swarm) -> Figure:
    """All peers as they are when nothing happens: keepalives and new handshakes, evenly over the time."""
    start, before = time.monotonic(), usage(relay.pid).cpu
    beats, calls = _endless(swarm.members), _endless(swarm.members)
    sent, called, answered = 0, 0, 0
    while (passed := time.monotonic() - start) < LIVE_SECONDS:
        for _ in range(int(passed * len(swarm.members) / KEEPALIVE) - sent):
            member = next(beats)
            member.send(member.keepalive())
            sent += 1
        for _ in range(int(passed * len(swarm.members) / REKEY) - called):
            member = next(calls)
            member.send(member.initiation())
            called += 1
        for member, datagram in swarm.received(_TICK):
            answered += 1
            if member.take(datagram):
                member.send(member.keepalive())
    share = 100 * (usage(relay.pid).cpu - before) / (time.monotonic() - start)
    return Figure(
        name=f"rendezvous: processor with {PEERS:,} peers",
        value=share,
        unit="% of a core",
        note=f"keepalives each {KEEPALIVE:.0f} s and handshakes each {REKEY:.0f} s at two vantage points: "
        f"{sent / passed:.0f} and {called / passed:.0f} a second, {answered} of {called} answered",
    )


def _endless(members: list[Member]) -> Iterator[Member]:
    while True:
        yield from members

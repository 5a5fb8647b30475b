"""What the rendezvous costs a relay: handshakes and keepalives that one core answers, memory, and 10,000 real peers.

The relay process has the first core, the peers the second. Rates are per second of the relay's processor time, so that
what else the machine does is not in them.
"""

import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Final

from bench.relay_load import LOAD_CPU, on_core
from bench.relay_process import RelayProcess, allow_open_files
from bench.report import Figure, median
from bench.swarm import Member, Swarm, names
from bench.usage import usage
from lab import Lab

PEERS: Final = 10_000
HOMES: Final = IPv4Network("10.64.0.0/16")
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
        # As in the world, where there are limits to what one address may ask: each peer has its own.
        host.route(str(HOMES), via=outside.ipv4)
        outside.machine.ip(f"route add local {HOMES} dev lo")
        with outside.machine.network():
            addresses = map(str, HOMES.hosts())
            swarm = Swarm(PEERS, relay.vantages, lambda: _open(next(addresses)))
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


def _open(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, 0))
    return opened


def _handshakes(relay: RelayProcess, swarm: Swarm) -> Figure:
    """Sessions, with the keepalive that confirms each; where many came at once, with a cookie before."""
    rates = []
    for number in range(ROUNDS):
        before = usage(relay.pid).cpu
        swarm.shake_hands(swarm.members[number * HANDSHAKES : (number + 1) * HANDSHAKES])
        rates.append(HANDSHAKES / (usage(relay.pid).cpu - before))
    return median("rendezvous: handshakes a second of one core", rates, "/s", note="each with its keepalive")


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

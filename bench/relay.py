"""Our relay against Debian's coturn, between the same two hosts in the same run: what gets through, what it costs, and
how much later it arrives.

Both relays have the first core. What loads them has the second: one process that sends all that it can, one that counts
what arrives (see `bench.relay_load`). The note tells how full the relay's core was: where it is not, the load was the
limit, of both relays alike, and what a relay can do is told by its processor time for as much.
"""

import os
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from bench import turn
from bench.coturn import LIFETIME, NoCoturn, coturn
from bench.coturn import PORT as TURN_PORT
from bench.relay_load import RELAY_CPU, Flood, Pair, flood, percentile, prepare, round_trips
from bench.relay_process import RelayProcess, allow_open_files
from bench.report import Figure, median
from bench.wireguard_peers import WirePeer, connect, drain, pair
from lab import Host, Lab

ROUNDS = 3
SECONDS = 1.5
PAIRS = (1, 10, 100, 1000)
SIZES = (1400, 200)
PINGS = 2000
PING_ROUNDS = 3
STALE = 60.0  # seconds after which peers shake hands anew: a route ends 180 s after its handshake
QUIET = 0.2  # seconds in which what is under way arrives
AIM_GIGABITS, AIM_RATIO = 5, 3


class Side(Protocol):
    """One of the two relays, with pairs of peers on either side of it."""

    pids: Sequence[int]

    def pairs(self, count: int, size: int) -> list[Pair]:
        """So many pairs that are ready for datagrams of that size."""
        ...


class Hosts:
    """The two hosts, and the relaying one between them."""

    def __init__(self, lab: Lab) -> None:
        lan = lab.switch("lan", "192.0.2.0/24")
        self.near, self.relay, self.far = (lab.host(name, lan) for name in ("near", "relay", "far"))

    def socket(self, host: Host) -> socket.socket:
        """A bound UDP socket of a host."""
        with host.machine.network():
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((str(host.ipv4), 0))
        return prepare(opened)


class Ours:
    """The relay process of vpn-server and vpn-relay."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        relay = RelayProcess(hosts.relay, _names())
        self._vantage = relay.vantages[0]
        self.pids: Sequence[int] = [relay.pid]
        self._peers: list[tuple[WirePeer, WirePeer]] = []
        self._made: dict[int, tuple[float, list[Pair]]] = {}

    def pairs(self, count: int, size: int) -> list[Pair]:
        """See `Side.pairs`."""
        made, standing = self._made.get(count, (0.0, []))
        if time.monotonic() - made > STALE:
            standing = self._shake_hands(count)
            self._made[count] = (time.monotonic(), standing)
        return [_resized(one, size) for one in standing]

    def _shake_hands(self, count: int) -> list[Pair]:
        time.sleep(QUIET)
        while len(self._peers) < count:
            number = len(self._peers)
            near, far = (
                WirePeer(f"{side} {number}", connect(self._hosts.socket(host), self._vantage.address))
                for side, host in (("near", self._hosts.near), ("far", self._hosts.far))
            )
            self._peers.append((near, far))
        pairs = []
        for near, far in self._peers[:count]:
            drain(near.socket)
            drain(far.socket)
            near.meet(self._vantage.key)
            far.meet(self._vantage.key)
            pairs.append(pair(near, far, max(SIZES)))
        return pairs


class Theirs:
    """coturn: one end allocates and has a channel for the other, which sends to the allocated address."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._process = coturn().start(hosts.relay, hosts.relay.ipv4, RELAY_CPU)
        self.pids: Sequence[int] = [self._process.pid]
        self._sockets: list[tuple[socket.socket, socket.socket]] = []

    def pairs(self, count: int, size: int) -> list[Pair]:
        """See `Side.pairs`."""
        while len(self._sockets) < count:
            self._sockets.append(self._allocate())
        payload = os.urandom(size)
        data = turn.channel_data(payload)
        return [Pair(near, far, data, payload, size) for near, far in self._sockets[:count]]

    def _allocate(self) -> tuple[socket.socket, socket.socket]:
        near, far = self._hosts.socket(self._hosts.near), self._hosts.socket(self._hosts.far)
        near.connect((str(self._hosts.relay.ipv4), TURN_PORT))
        relayed = turn.allocate(near, LIFETIME)
        turn.bind_channel(near, far.getsockname())
        far.connect(relayed)
        return prepare(near), far


def measure() -> list[Figure]:
    """Throughput of both for each number of pairs, size and kind of sender; then round trips."""
    allow_open_files()
    with Lab("bench-relay") as lab:
        hosts = Hosts(lab)
        ours: Side = Ours(hosts)
        try:
            theirs: Side | None = Theirs(hosts)
        except NoCoturn as error:
            print(f"bench: without coturn: {error}", file=sys.stderr)
            theirs = None
        figures = _round_trips(hosts, ours, theirs)
        for count in PAIRS:
            for size in SIZES:
                for gso in (True, False):
                    figures += _throughput(ours, theirs, count, size, gso=gso)
        return figures


def _throughput(ours: Side, theirs: Side | None, count: int, size: int, *, gso: bool) -> list[Figure]:
    runs: dict[str, list[Flood]] = {"ours": [], "coturn": []}
    for number in range(ROUNDS):
        sides = [("ours", ours)] + ([("coturn", theirs)] if theirs is not None else [])
        for name, side in sides if number % 2 else reversed(sides):
            runs[name].append(flood(side.pairs(count, size), side.pids, SECONDS, gso=gso))
    what = f"{size:,} bytes, {'GSO' if gso else 'no GSO'}, {count:,} pair{'s' if count > 1 else ''}"
    is_aimed_at = gso and size == max(SIZES)
    figures = [
        Figure(
            name=f"relay: {what}",
            value=statistics.median(one.gigabits for one in runs["ours"]),
            unit="Gbit/s",
            aim=f">= {AIM_GIGABITS}" if is_aimed_at else "",
            note=_described(runs["ours"]),
        )
    ]
    if theirs is not None:
        ratios = [one.gigabits / other.gigabits for one, other in zip(runs["ours"], runs["coturn"], strict=True)]
        figures.append(
            Figure(
                name=f"relay / coturn: {what}",
                value=statistics.median(ratios),
                unit="",
                aim=f">= {AIM_RATIO}" if is_aimed_at else "",
                note=f"coturn {_described(runs['coturn'])}",
            )
        )
        costs = [
            other.cpu_per_gigabit / one.cpu_per_gigabit for one, other in zip(runs["ours"], runs["coturn"], strict=True)
        ]
        figures.append(median(f"CPU for as much, coturn / relay: {what}", costs, ""))
    return figures


def _described(runs: Sequence[Flood]) -> str:
    middle = sorted(runs, key=lambda run: run.gigabits)[len(runs) // 2]
    return (
        f"{middle.gigabits:.3g} Gbit/s, {middle.packets:,.0f} packets/s, {middle.cpu_per_gigabit:.3g} CPU s/Gbit, "
        f"{100 * middle.cpu / middle.seconds:.0f} % of its core; "
        f"{min(run.gigabits for run in runs):.3g} to {max(run.gigabits for run in runs):.3g} in {len(runs)}"
    )


def _round_trips(hosts: Hosts, ours: Side, theirs: Side | None) -> list[Figure]:
    """What a relay adds to a round trip with nothing else under way."""
    size = min(SIZES)
    ways = {"direct": _direct(hosts, size), "ours": ours.pairs(1, size)[0]}
    if theirs is not None:
        ways["coturn"] = theirs.pairs(1, size)[0]
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(PING_ROUNDS):
        for name, way in ways.items():
            times[name] += round_trips(way, PINGS)
    figures = []
    for percent in (50, 99):
        at = {name: percentile(values, percent) * 1e6 for name, values in times.items()}
        others = "".join(f", coturn adds {at[name] - at['direct']:.0f} µs" for name in ("coturn",) if name in at)
        figures.append(
            Figure(
                name=f"relay: added round trip, p{percent}",
                value=at["ours"] - at["direct"],
                unit="µs",
                note=f"direct {at['direct']:.0f} µs{others}; {PING_ROUNDS * PINGS} of {size} bytes, one at a time",
            )
        )
    return figures


def _direct(hosts: Hosts, size: int) -> Pair:
    near, far = hosts.socket(hosts.near), hosts.socket(hosts.far)
    near.connect(far.getsockname())
    far.connect(near.getsockname())
    return Pair(near, far, os.urandom(size), os.urandom(size), size)


def _resized(one: Pair, size: int) -> Pair:
    return Pair(one.near, one.far, one.datagram[:size], one.answer[:size], size)


def _names() -> list[str]:
    return [f"{side} {number}" for number in range(max(PAIRS)) for side in ("near", "far")]

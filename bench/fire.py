"""What strangers can send to a relay, from ten thousand addresses that are not theirs, while two peers talk by it."""

import multiprocessing
import os
import random
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Final

import msgspec

from bench.datagrams import Address
from bench.relay_load import LOAD_CPU, NICE, PING_LIMIT, Pair, on_core, prepare
from bench.relay_process import RelayProcess, Vantage
from bench.wireguard_peers import RECEIVED_AT_MOST, WirePeer, connect, drain, pair
from lab import Host, Lab
from tests.fuzz.inputs import inputs
from wireguard_mesh.protocol.cookies import mac1_key, with_macs
from wireguard_mesh.protocol.handshake import Initiator
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE, MACS_LENGTH, TRANSPORT_HEADER_SIZE

SOURCES: Final = 10_000
READY: Final = 2_000  # datagrams that are made before, and sent again and again from other sources
STRANGERS: Final = 200  # keys that nobody registered
PACKET: Final = 200  # bytes that the pair exchanges
RECOVERY_LIMIT: Final = 60.0  # seconds
NEWCOMERS: Final = 10
NEWCOMER_EACH: Final = 3.0  # seconds
NEWCOMER_LIMIT: Final = 20.0  # for the last of them
REKEY_TIMEOUT: Final = 5.0  # WireGuard paper, section 6.1
FIRST_SOURCE: Final = IPv4Address("10.8.40.0")
_AT_ONCE: Final = 50
_REST: Final = 0.02
_UDP_HEADER: Final = struct.Struct("!HHHH")
_IPV4_HEADER: Final = struct.Struct("!BBHHHBBH4s4s")
_COUNTER: Final = re.compile(r"packets (\d+) bytes (\d+)")
# Cookie replies have 64 bytes and UDP's 8.
_RULES: Final = """table inet answers {
    chain out { type filter hook output priority 0;
        udp sport 8080-8081 ip daddr >= 10.8.40.0 udp length 72 counter
        udp sport 8080-8081 ip daddr >= 10.8.40.0 udp length != 72 counter
    }
}
"""

Shot = tuple[Address, bytes]
"""A source, and what it sends to the first or second vantage point."""


class Outcome(msgspec.Struct, frozen=True):
    """What fire did: datagrams `sent`, round `trips` of the pair in seconds, how many of its packets were `lost`, and
    `recovery`: seconds after the end until both peers have new sessions and a new tunnel."""

    sent: int
    trips: list[float]
    lost: int
    recovery: float


class Battlefield:
    """A relay, a pair of peers that have a tunnel by it, and a host from where everything is sent under any address."""

    def __init__(self, lab: Lab, seed: int) -> None:
        lan = lab.switch("lan", "10.8.0.0/16")
        hosts = {name: lab.host(name, lan) for name in ("relay", "near", "far", "strangers")}
        self.random = random.Random(seed)
        self.relay = RelayProcess(hosts["relay"], ("near", "far", *map(_newcomer, range(NEWCOMERS))))
        self._host, self._strangers = hosts["relay"], hosts["strangers"]
        self._host.nft(_RULES)
        self._home = hosts["near"]
        self.near, self.far = (self._peer(hosts[name], name) for name in ("near", "far"))
        self.pair = self._tunnel()

    @property
    def vantages(self) -> tuple[Vantage, ...]:
        """Of the relay."""
        return self.relay.vantages

    def talk(self, seconds: float) -> list[float]:
        """Round trips of the pair, one after the other, for so long; those that were lost are left out."""
        end, times = time.monotonic() + seconds, []
        with on_core(LOAD_CPU):
            while time.monotonic() < end:
                try:
                    times.append(_round_trip(self.pair, self.random))
                except TimeoutError:
                    self._lost += 1
        return times

    def under_fire(self, shots: Callable[[], Iterator[Shot]], seconds: float) -> Outcome:
        """What it did to the pair, which then begins anew: each kind of fire meets a route that stands."""
        self._lost = 0
        with self._firing(shots, seconds) as sent:
            times = self.talk(seconds)
            total = sent()
        end = time.monotonic()
        self.pair = self._tunnel()
        return Outcome(total, times, self._lost, time.monotonic() - end)

    def newcomers(self, shots: Callable[[], Iterator[Shot]]) -> list[float]:
        """Seconds until registered peers have a session that call for the first time while strangers fire, one each
        few seconds from the beginning on. They call again as WireGuard does; infinity for those that never got in."""
        came: dict[WirePeer, float] = {}
        called: dict[WirePeer, tuple[float, Initiator]] = {}
        taken: list[float] = []
        vantage = self.vantages[0].key
        with self._firing(shots, NEWCOMERS * NEWCOMER_EACH + NEWCOMER_LIMIT) as sent:
            start = time.monotonic()
            while (now := time.monotonic()) < start + NEWCOMERS * NEWCOMER_EACH + NEWCOMER_LIMIT:
                if len(taken) + len(came) < NEWCOMERS and now >= start + (len(taken) + len(came)) * NEWCOMER_EACH:
                    came[self._peer(self._home, _newcomer(len(taken) + len(came)))] = now
                for peer, since in list(came.items()):
                    if peer not in called or now - called[peer][0] >= REKEY_TIMEOUT:
                        called[peer] = now, peer.call_for(vantage)
                    if peer.has_answer(called[peer][1], vantage):
                        taken.append(time.monotonic() - since)
                        del came[peer]
                time.sleep(_REST)
            sent()
        return taken + [float("inf")] * len(came)

    @contextmanager
    def _firing(self, shots: Callable[[], Iterator[Shot]], seconds: float) -> Iterator[Callable[[], int]]:
        """What is yielded waits for the end of it, and says how much was sent."""
        spawn = multiprocessing.get_context("fork")
        ours, theirs = spawn.Pipe(duplex=False)
        with self._strangers.machine.network():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            firing = spawn.Process(target=lambda: theirs.send(self._fire(raw, shots(), seconds)), daemon=True)
            with on_core(LOAD_CPU):
                firing.start()
            yield ours.recv
            firing.join()

    def answers(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """What the relay sent to addresses of strangers, in datagrams and in bytes with IP and UDP headers: cookie
        replies, and all else."""
        cookies, others = _COUNTER.findall(self._host.machine.tool(["nft", "list", "table", "inet", "answers"]))
        return (int(cookies[0]), int(cookies[1])), (int(others[0]), int(others[1]))

    _lost = 0

    def _peer(self, host: Host, name: str) -> WirePeer:
        with host.machine.network():
            opened = prepare(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        opened.bind((str(host.ipv4), 0))
        return WirePeer(name, connect(opened, self.vantages[0].address))

    def _tunnel(self) -> Pair:
        deadline = time.monotonic() + RECOVERY_LIMIT
        while True:
            try:
                for peer in (self.near, self.far):
                    drain(peer.socket)
                    peer.meet(self.vantages[0].key)
                return pair(self.near, self.far, PACKET)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def _fire(self, raw: socket.socket, shots: Iterator[Shot], seconds: float) -> int:
        os.nice(NICE)
        targets = [vantage.address for vantage in self.vantages]
        end, sent = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for _ in range(_AT_ONCE):
                source, payload = next(shots)
                target = targets[sent % 7 == 0]  # most to the port that forwards
                raw.sendto(packet(source, target, payload), target)
                sent += 1
        return sent


def kinds(field: Battlefield) -> dict[str, Callable[[], Iterator[Shot]]]:
    """Each kind of fire, by a name that fits "under …"."""
    choose = field.random
    sources = [(str(FIRST_SOURCE + number), 1024 + number) for number in range(SOURCES)]
    known = field.near.sent + field.far.sent + [field.pair.datagram, field.pair.answer]
    own = [field.near.socket.getsockname(), field.far.socket.getsockname()]
    changed = list(_first(inputs(known, choose.randrange(1 << 30)), READY))

    def from_anywhere(ready: list[bytes]) -> Callable[[], Iterator[Shot]]:
        return lambda: _endless(lambda: (choose.choice(sources), choose.choice(ready)))

    return {
        "random datagrams": from_anywhere([_random_message(choose) for _ in range(READY)]),
        "changed datagrams of its own": from_anywhere(changed),
        "replays from elsewhere": from_anywhere(known),
        "changed and replayed datagrams under its address": lambda: _endless(
            lambda: (choose.choice(own), choose.choice(changed))
        ),
        "handshakes with a right mac1": from_anywhere(_with_right_mac1(field)),
        "handshakes of strangers": from_anywhere(_of_strangers(field)),
    }


def _newcomer(number: int) -> str:
    return f"newcomer {number}"


def _round_trip(way: Pair, choose: random.Random) -> float:
    """Seconds of one exchange, whatever else arrives. Raises `TimeoutError` if something of it is lost."""
    there, back = (
        (one[:TRANSPORT_HEADER_SIZE] + choose.randbytes(PACKET))[:PACKET] for one in (way.datagram, way.answer)
    )
    start = time.perf_counter()
    way.near.send(there)
    _await(way.far, there)
    way.far.send(back)
    _await(way.near, back)
    return time.perf_counter() - start


def _await(endpoint: socket.socket, wanted: bytes) -> None:
    deadline = time.monotonic() + PING_LIMIT
    while endpoint.recv(RECEIVED_AT_MOST) != wanted:
        if time.monotonic() > deadline:
            raise TimeoutError


def packet(source: Address, target: Address, payload: bytes) -> bytes:
    """An IPv4 packet as somebody may send it who says that it is from `source` (RFC 791, RFC 768)."""
    length = _UDP_HEADER.size + len(payload)
    header = _IPV4_HEADER.pack(
        0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, socket.inet_aton(source[0]), socket.inet_aton(target[0])
    )  # the kernel fills in length, identification and checksum (raw(7))
    return header + _UDP_HEADER.pack(source[1], target[1], length, 0) + payload


def _random_message(choose: random.Random) -> bytes:
    """Any bytes, often with the type and the length of a message."""
    size = choose.choice((148, 92, 64, 32, 80, choose.randrange(1400)))
    return bytes((choose.randrange(8), 0, 0, 0)) + choose.randbytes(size)[4:]


def _with_right_mac1(field: Battlefield) -> list[bytes]:
    """Nothing in them but the one field that anybody can make who knows the relay's public key."""
    keys = [mac1_key(vantage.key) for vantage in field.vantages]
    size = INITIATION_SIZE - 4
    return [
        with_macs(
            field.random.choice(keys), b"\1\0\0\0" + field.random.randbytes(size - MACS_LENGTH) + bytes(MACS_LENGTH)
        )
        for _ in range(READY)
    ]


def _of_strangers(field: Battlefield) -> list[bytes]:
    """Handshakes as they should be, of keys that nobody registered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        return [
            WirePeer(f"stranger {number}", unused).initiation(field.vantages[number % 7 == 0].key).datagram
            for number in range(STRANGERS)
        ]


def _first(source: Iterator[bytes], count: int) -> Iterator[bytes]:
    while count:
        data = next(source)
        if len(data) <= 1400:  # longer ones would be fragments
            yield data
            count -= 1


def _endless(make: Callable[[], Shot]) -> Iterator[Shot]:
    while True:
        yield make()

"""A relay at work: its sockets, its WebSockets and its journal around the core, on one event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Final

from wireguard_mesh.core.forwarding import Buffer, ForwardingLimits
from wireguard_mesh.core.forwarding_peers import Drop
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.relay_core import FORWARDING, RelayCore
from wireguard_mesh.core.rendezvous import Observation, Rendezvous
from wireguard_mesh.core.sources import Source, UdpSource, WebSource
from wireguard_mesh.core.turnstile import Turnstile
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE
from wireguard_mesh.relay import clock
from wireguard_mesh.relay.carriers import Carriers
from wireguard_mesh.relay.control import TOP_PAIRS, Roster, Setup, Stats
from wireguard_mesh.relay.journal import Journal
from wireguard_mesh.relay.linux import LinuxPort
from wireguard_mesh.relay.plain import PlainPort
from wireguard_mesh.relay.port import Port, has_fast_path

log = logging.getLogger(__name__)

BATCHES_A_TURN: Final = 8  # then it is the turn of others on the event loop
KEYS_A_TURN: Final = 512  # that a search tries between packets, 0.4 ms
TICK_SECONDS: Final = 1.0
OWN_DESCRIPTORS: Final = 48  # of this process; some 16, and one for each further address of the host


class Node:
    """One relay. `begin` when it is known who is registered; then it works by what the event loop tells it."""

    def __init__(self, setup: Setup, *, use_fast_path: bool = has_fast_path()) -> None:
        limits = ForwardingLimits(bytes_per_second=setup.limits.bytes_per_second, burst_bytes=setup.limits.burst_bytes)
        self._core = RelayCore(Rendezvous(setup.vantages), _permits, os.urandom, limits)
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._turnstiles = tuple(Turnstile() for _ in setup.vantages)
        self._ports = tuple(
            tuple(self._open(descriptor, turnstile, use_fast_path=use_fast_path) for descriptor in vantage)
            for vantage, turnstile in zip(setup.sockets, self._turnstiles, strict=True)
        )
        self._forwarding = self._ports[FORWARDING]
        self._carriers = Carriers(min(setup.limits.carriers, spare_descriptors()), self._arrived, self._core.closed)
        self._journal = Journal(Path(setup.folder), setup.relay) if setup.folder else None
        self._now = clock.now()
        self._began = self._now.monotonic
        self._is_searching = False
        self._has_failed = False
        self._has_handled = False
        self._ticker: asyncio.TimerHandle | None = None
        self._received_packets = 0
        self._received_bytes = 0

    def begin(self) -> int:
        """Take up what the journal says, and listen. Returns how many sessions it had."""
        restored = self._restore() if self._journal is not None else 0
        for vantage, ports in enumerate(self._ports):
            for port in ports:
                self._loop.add_reader(port.fileno(), self._readable, vantage, port)
        self._tick()
        return restored

    def end(self) -> None:
        """Stop listening, and let go of the sockets; the journal stays for the next process."""
        for ports in self._ports:
            for port in ports:
                self._loop.remove_reader(port.fileno())
        for sock in self._sockets:
            sock.close()
        if self._ticker is not None:
            self._ticker.cancel()
        self._carriers.close()
        if self._journal is not None:
            self._journal.close()

    def roster(self, roster: Roster) -> None:
        """Others are registered now."""
        self._core.roster(roster.add, roster.remove, whole=roster.whole)

    def adopt(self, sock: socket.socket, key: PublicKey, data: bytes) -> None:
        """Take over a WebSocket of a peer."""
        self._carriers.adopt(sock, key, data)

    def observations(self) -> list[Observation]:
        """Who was seen elsewhere since this was asked last."""
        return self._core.observations()

    def stats(self) -> Stats:
        """How it does."""
        forwarder = self._core.forwarder
        packets, size = forwarder.totals()
        dropped = {reason.value: count for reason, count in forwarder.dropped.items()}
        dropped["not sent"] = sum(port.dropped for ports in self._ports for port in ports)
        dropped[Drop.STRANGER.value] = dropped.get(Drop.STRANGER.value, 0) + sum(
            each.ignored for each in self._turnstiles
        )
        dropped["too many handshakes of strangers"] = sum(turnstile.shed for turnstile in self._turnstiles)
        dropped["WebSocket too slow"] = self._carriers.dropped
        return Stats(
            uptime=clock.now().monotonic - self._began,
            memory=_resident_bytes(),
            busy=sum(os.times()[:2]),
            received_packets=self._received_packets,
            received_bytes=self._received_bytes,
            forwarded_packets=packets,
            forwarded_bytes=size,
            answered=self._core.answered,
            dropped=dropped,
            registered=self._core.registered,
            sessions=self._core.present,
            routes=forwarder.routes,
            carriers=len(self._carriers),
            pairs=tuple(forwarder.busiest(TOP_PAIRS)),
        )

    def _open(self, descriptor: int, turnstile: Turnstile, *, use_fast_path: bool) -> Port:
        sock = socket.socket(fileno=descriptor)
        self._sockets.append(sock)
        port: type[LinuxPort | PlainPort] = LinuxPort if use_fast_path else PlainPort
        return port(sock, self._core.is_at, turnstile)

    def _readable(self, vantage: int, port: Port) -> None:
        self._now = now = clock.now()
        monotonic = now.monotonic
        find_route = self._core.forwarder.find_route
        self._turnstiles[vantage].turn(monotonic)

        def handle(source: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
            self._handle(vantage, port, source, buffer, start, end, size)

        def route(source: Source, head: int, packets: int, size: int) -> UdpSource | None:
            if vantage != FORWARDING or len(self._forwarding) > 1:
                return None
            destination = find_route(source, head, packets, size, monotonic)
            if destination is not None:
                self._received_packets += packets
                self._received_bytes += size
            return destination

        self._has_handled = False
        for _ in range(BATCHES_A_TURN):
            if not port.receive(handle, route):
                break
        if self._has_handled:
            self._after_work()

    def _handle(
        self, vantage: int, port: Port | None, source: Source, buffer: Buffer, start: int, end: int, size: int
    ) -> None:
        self._has_handled = True
        self._received_packets += -((start - end) // size)
        self._received_bytes += end - start
        try:
            runs = self._core.receive(vantage, source, buffer, start, end, size, self._now)
            if size <= INITIATION_SIZE:
                self._save()  # before the handshake goes on: who hears of it may rely on it
            for destination, first, last, each in runs:
                self._send(destination, buffer, first, last, each)
            for answered, answer in self._core.answers():
                if isinstance(answered, WebSource):
                    self._carriers.send(answered, answer)
                elif port is not None:
                    port.send(answered, answer, 0, len(answer), len(answer))
        except Exception:
            # A fault of ours with one packet must not end the relaying of all others.
            if not self._has_failed:
                self._has_failed = True
                log.exception("a packet could not be dealt with; more of these are not said")

    def _send(self, destination: Source, buffer: Buffer, start: int, end: int, size: int) -> None:
        if isinstance(destination, WebSource):
            for at in range(start, end, size):
                self._carriers.send(destination, bytes(buffer[at : min(at + size, end)]))
            return
        self._port_of(destination).send(destination, buffer, start, end, size)

    def _port_of(self, destination: UdpSource) -> Port:
        ports = self._forwarding
        if len(ports) == 1:
            return ports[0]
        return next((port for port in ports if port.knows(destination)), ports[0])

    def _arrived(self, source: WebSource, datagram: bytes) -> None:
        self._now = clock.now()
        if datagram:
            self._handle(FORWARDING, None, source, datagram, 0, len(datagram), len(datagram))
            self._after_work()

    def _after_work(self) -> None:
        for destination, datagram in self._core.released(self._now):
            self._send(destination, datagram, 0, len(datagram), len(datagram))
        if self._core.forwarder.is_searching and not self._is_searching:
            self._is_searching = True
            self._loop.call_soon(self._search)

    def _search(self) -> None:
        self._is_searching = False
        self._now = clock.now()
        for destination, datagram in self._core.forwarder.search(KEYS_A_TURN, self._now.monotonic):
            self._send(destination, datagram, 0, len(datagram), len(datagram))
        self._after_work()

    def _tick(self) -> None:
        self._now = now = clock.now()
        self._ticker = self._loop.call_later(TICK_SECONDS, self._tick)
        self._core.expire(now)
        self._carriers.tick()
        self._save()
        if self._journal is not None:
            self._journal.turn(now.monotonic)
            if self._journal.is_too_long:
                self._begin_journal(self._journal, now)

    def _save(self) -> None:
        sessions, routes = self._core.rendezvous.unsaved(), self._core.forwarder.unsaved()
        if (sessions or routes) and self._journal is not None:
            self._journal.append(sessions, routes)

    def _restore(self) -> int:
        assert self._journal is not None
        sessions, routes = self._journal.read()
        self._core.restore(sessions, routes, self._now)
        self._begin_journal(self._journal, self._now)
        return self._core.present

    def _begin_journal(self, journal: Journal, now: Instant) -> None:
        core = self._core
        journal.begin(core.rendezvous.sessions(), core.forwarder.saved(now), now.monotonic)
        core.rendezvous.unsaved()
        core.forwarder.unsaved()


def _permits(_one: PublicKey, _other: PublicKey) -> bool:
    """Whether two registered peers may know each other: all of a mesh do."""
    return True


def spare_descriptors() -> int:
    """How many files this process may open besides those that it cannot do without."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(0, soft - OWN_DESCRIPTORS)


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")

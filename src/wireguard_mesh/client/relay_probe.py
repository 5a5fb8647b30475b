"""Pings relays from sockets of its own, apart from WireGuard's: a few to each vantage point, all at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.dial import put_mark
from wireguard_mesh.core.netchecking import Sample
from wireguard_mesh.core.path_view import relay_endpoints
from wireguard_mesh.core.wanted import FWMARK
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.model.relays import Relay, RelayId
from wireguard_mesh.protocol.pings import Ping, PingKeys, Pong

ROUNDS: Final = 4
GAP: Final = 0.25  # seconds between two rounds
PATIENCE: Final = 1.5  # seconds that answers are waited for after the last round
_MICRO: Final = 1_000_000
_MAX_PONG: Final = 128  # bytes; more than any


@dataclass(frozen=True, slots=True)
class Probed:
    """What was sent and what came back. `ports`: of the sockets, by IP version."""

    samples: tuple[Sample, ...]
    ports: dict[int, int]


@dataclass(slots=True)
class _Target:
    relay: RelayId
    number: int
    endpoint: Endpoint
    keys: PingKeys = field(repr=False)


async def probe(
    private_key: PrivateKey, relays: Sequence[Relay], server: Sequence[Address], clock: Clock, offset: float = 0.0
) -> Probed:
    """Ping every address of every vantage point. `server`: where the coordination server is; `offset`: seconds that its
    clock, which is the relays', is ahead of ours."""
    targets = list(_targets(private_key, relays, server))
    run = _Run(private_key.public_key.raw, clock, offset)
    with contextlib.ExitStack() as stack:
        for version in {target.endpoint.address.version for target in targets}:
            with contextlib.suppress(OSError):  # this machine lacks IPv6 or IPv4
                run.sockets[version] = stack.enter_context(_open(version))
        readers = [asyncio.create_task(run.read(one)) for one in run.sockets.values()]
        try:
            for _ in range(ROUNDS):
                for target in targets:
                    await run.send(target)
                await asyncio.sleep(GAP)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await run.all_answered.wait()
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
        ports = {version: one.getsockname()[1] for version, one in run.sockets.items()}
    return Probed(tuple(run.samples.values()), ports)


def _targets(private_key: PrivateKey, relays: Sequence[Relay], server: Sequence[Address]) -> Iterator[_Target]:
    for relay in relays:
        for number, vantage in enumerate(relay.vantage_points):
            keys = PingKeys(private_key.exchange(vantage.public_key))
            for endpoint in relay_endpoints(relay, server, number):
                yield _Target(relay.id, number, endpoint, keys)


def _open(version: int) -> socket.socket:
    made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        put_mark(made, FWMARK)
        made.bind(("0.0.0.0" if version == 4 else "::", 0))
    except OSError:
        made.close()
        raise
    return made


class _Run:
    """The pings of one probe, by their times, which are all different: so an answer tells whose it is."""

    def __init__(self, public_key: bytes, clock: Clock, offset: float) -> None:
        self.samples: dict[int, Sample] = {}
        self.sockets: dict[int, socket.socket] = {}
        self.all_answered = asyncio.Event()
        self._public_key = public_key
        self._clock = clock
        self._offset = offset
        self._last = 0
        self._waiting: dict[int, tuple[_Target, float]] = {}

    async def send(self, target: _Target) -> None:
        """One ping; one that cannot be sent counts as not answered."""
        self._last = moment = max(self._last + 1, int((self._clock().wall + self._offset) * _MICRO))
        self.samples[moment] = Sample(relay=target.relay, number=target.number, endpoint=target.endpoint)
        sending = self.sockets.get(target.endpoint.address.version)
        if sending is None:
            return
        self._waiting[moment] = (target, perf_counter())
        self.all_answered.clear()
        where = (str(target.endpoint.address), target.endpoint.port)
        try:
            ping = Ping(self._public_key, moment).build(target.keys)
            await asyncio.get_running_loop().sock_sendto(sending, ping, where)
        except OSError:  # there is no route
            self._waiting.pop(moment, None)

    async def read(self, receiving: socket.socket) -> None:
        """Take answers until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                datagram = await loop.sock_recv(receiving, _MAX_PONG)
            except OSError:  # the link went away under it
                return
            self._take(datagram, perf_counter())

    def _take(self, datagram: bytes, moment: float) -> None:
        for keys in {id(target.keys): target.keys for target, _ in self._waiting.values()}.values():
            try:
                pong = Pong.parse(datagram, keys)
            except InvalidValue:
                continue
            asked = self._waiting.pop(pong.microseconds, None)
            if asked is not None:
                self._note(pong, asked[0], moment - asked[1])
            break
        if not self._waiting:
            self.all_answered.set()

    def _note(self, pong: Pong, target: _Target, seconds: float) -> None:
        self.samples[pong.microseconds] = Sample(
            relay=target.relay, number=target.number, endpoint=target.endpoint, seconds=seconds, mapped=pong.mapped
        )

"""Keeps a port of the router forwarded to WireGuard's own, where the router does such a thing.

An address that is forwarded can be reached whatever the NATs of both ends are. The router is asked when the mesh comes
up, at half the mapping's lifetime, when links change, and now and then if it gave none; never while anything waits for
it. What it says is checked, and a wrong answer costs some packets to a wrong address at most.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2s
from ipaddress import IPv4Address
from typing import Final

import msgspec

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.mapping_ways import NatPmp, Pcp, Upnp, Way
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.protocol.pcp import NONCE_LENGTH, MappingRefused
from wireguard_mesh.protocol.status import PortMapping
from wireguard_mesh.system.gateway import default_gateway

LIFETIME: Final = 3600  # seconds that are asked for; a router that was restarted has forgotten, and is asked after half
SHORTEST: Final = 120  # seconds: a router that gives less is asked no more often than for this
RETRY: Final = Backoff(first=60.0, longest=3600.0)  # after no router, or a refusal
RENEW_AGAIN: Final = Backoff(first=10.0, longest=300.0)  # while a mapping that could not be renewed still stands
SETTLE_SECONDS: Final = 1.0  # after a change of links, which come in bursts
RELEASE_SECONDS: Final = 4.0  # UPnP takes two to find the router

_NONCE_LABEL: Final = b"wireguard-mesh port mapping"

log = logging.getLogger(__name__)


def mapping_nonce(private_key: PrivateKey) -> bytes:
    """What a router knows this machine's mappings by: the same after a restart, and nobody else's."""
    return blake2s(_NONCE_LABEL, key=private_key.raw, digest_size=NONCE_LENGTH).digest()


class _Lease(msgspec.Struct, frozen=True):
    """A mapping that stands until `end`, monotonic seconds, and whom it was asked of."""

    way: Way
    gateway: IPv4Address
    port: int
    endpoint: Endpoint
    renew_at: float
    end: float


class PortMapper:
    """One WireGuard port. `run` it as a task; `release` after that has ended, if the mesh goes down.

    `port` gives WireGuard's UDP port, 0 while there is none; `gateway` whom to ask. `on_mapped` is told all forwarded
    endpoints each time that they change. `nonce` is `mapping_nonce` of the machine's key.
    """

    def __init__(
        self,
        port: Callable[[], int],
        clock: Clock,
        on_mapped: Callable[[tuple[Endpoint, ...]], None],
        *,
        nonce: bytes,
        gateway: Callable[[], IPv4Address | None] = default_gateway,
        ways: Sequence[Way] | None = None,
    ) -> None:
        self._port, self._gateway = port, gateway
        self._clock = clock
        self._on_mapped = on_mapped
        self._ways: list[Way] = list(ways) if ways is not None else [Pcp(nonce), NatPmp(), Upnp()]
        self._changed = asyncio.Event()
        self._lease: _Lease | None = None
        self._told: tuple[Endpoint, ...] = ()
        self._is_moved = False  # links changed since a router gave the lease
        self._failures = 0
        self._problem = ""

    @property
    def mapped(self) -> tuple[Endpoint, ...]:
        """The forwarded endpoints, as they were told last."""
        return self._told

    @property
    def report(self) -> PortMapping:
        """What there is, for people."""
        if self._lease is None:
            return PortMapping(problem=self._problem)
        return PortMapping(protocol=self._lease.way.name, endpoint=self._lease.endpoint, problem=self._problem)

    def network_changed(self) -> None:
        """Links, addresses or WireGuard's port changed: ask anew."""
        self._changed.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._changed.clear()
            await self._renew()
            self._tell()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._changed.wait()
                    self._is_moved, self._failures = True, 0
                    await asyncio.sleep(SETTLE_SECONDS)

    async def release(self) -> None:
        """Have the router forward no longer. Never raises, and takes few seconds; what is left ends by itself."""
        lease, self._lease = self._lease, None
        if lease is not None:
            with suppress(TimeoutError, MeshError, OSError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await lease.way.ask(lease.gateway, lease.port, lease.endpoint.port, 0)

    async def _renew(self) -> None:
        port, gateway = self._port(), self._gateway()
        if self._lease is not None and self._lease.gateway == gateway and self._lease.port != port:
            await self.release()
        if not port or gateway is None:
            self._lost("" if not port else "there is no IPv4 gateway to ask")
            return
        self._problem = ""
        for way in list(self._ways):
            if await self._take(way, gateway, port):
                self._failures = 0
                self._ways.sort(key=lambda known: known is not way)  # asked first the next time
                return
        self._lost(self._problem or "no router answers to PCP, NAT-PMP or UPnP")

    async def _take(self, way: Way, gateway: IPv4Address, port: int) -> bool:
        liked = self._lease.endpoint.port if self._lease is not None else port
        try:
            mapped = await way.ask(gateway, port, liked, LIFETIME)
            if mapped is None:
                return False
            endpoint = mapped.endpoint()
            if not mapped.lifetime:
                raise MappingRefused("the router forwards for no time at all")
        except (MeshError, OSError) as error:
            self._problem = self._problem or str(error)
            return False
        now = self._clock().monotonic
        lifetime = min(max(mapped.lifetime, SHORTEST), LIFETIME)
        self._lease = _Lease(way, gateway, port, endpoint, now + lifetime / 2, now + lifetime)
        self._is_moved, self._problem = False, ""
        return True

    def _lost(self, problem: str) -> None:
        """Nothing was given now. What was given before stands till its end, unless links changed since."""
        self._failures += 1
        self._problem = problem
        if self._lease is not None and (self._is_moved or self._clock().monotonic >= self._lease.end):
            self._lease = None

    def _tell(self) -> None:
        mapped = () if self._lease is None else (self._lease.endpoint,)
        if mapped == self._told:
            return
        self._told = mapped
        if self._lease is None:
            log.info("the router forwards no port to this machine any more reason=%s", self._problem or "no port")
        else:
            log.info("the router forwards a port protocol=%s endpoint=%s", self._lease.way.name, self._lease.endpoint)
        self._on_mapped(mapped)

    def _pause(self) -> float:
        """Seconds until the router is asked again."""
        if self._lease is None:
            return RETRY.delay(self._failures, random.random())
        now = self._clock().monotonic
        if not self._failures:
            return max(0.0, self._lease.renew_at - now)
        return min(RENEW_AGAIN.delay(self._failures, random.random()), max(0.0, self._lease.end - now))

"""Answers why the mesh is as it is: `netcheck`, `ping`, `explain`. Everybody on the machine may ask, so what it costs
is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from wireguard_mesh.client import icmp
from wireguard_mesh.client.netcheck import Surroundings, netcheck, open_once
from wireguard_mesh.client.parts import Parts
from wireguard_mesh.client.proxy import from_environment
from wireguard_mesh.core import explaining
from wireguard_mesh.core.called import the_one
from wireguard_mesh.core.exit_nodes import matches
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.model.paths import PathReport
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.diagnosis import Explanation, Netcheck, Pong
from wireguard_mesh.protocol.status import Status

GetStatus = Callable[[], Awaitable[Status]]
_MILLI = 1000.0


class Diagnosis:
    """Of one agent. `status` gives its status as it is now."""

    def __init__(self, parts: Parts, status: GetStatus) -> None:
        self._parts = parts
        self._status = status
        self._netcheck: asyncio.Task[Netcheck] | None = None

    async def ping(self, request: local.PingRequest) -> Pong:
        """One echo. Raises `NotFound`, `InvalidValue`, `NotPermitted`."""
        peer = self._find(request.peer)
        address = peer.ipv6 if request.is_ipv6 else peer.ipv4
        seconds, problem = None, ""
        try:
            seconds = await icmp.ping(address, request.sequence, request.timeout)
        except Unavailable as error:
            problem = str(error)
        await self._parts.device.refresh()
        return Pong(
            peer=peer.id,
            hostname=peer.hostname,
            address=str(address),
            sequence=request.sequence,
            milliseconds=None if seconds is None else round(seconds * _MILLI, 3),
            path=self._path(peer),
            problem=problem,
        )

    def _path(self, peer: Peer) -> PathReport:
        """As it is now, without all that was tried."""
        report = self._parts.engine.path_of(peer.public_key, self._parts.clock())
        return msgspec.structs.replace(report, trials=())

    def _find(self, name: str) -> Peer:
        network_map = self._map()
        if matches(network_map.me, name.lower()):
            raise InvalidValue(f"{name} is this machine itself", "name another: vpn-client status")
        found = [(peer.id, peer) for peer in network_map.peers.values() if matches(peer, name.lower())]
        return the_one(name, sorted(found, key=lambda item: item[0]))

    def _map(self) -> NetworkMap:
        network_map = self._parts.engine.map
        if network_map is None:
            raise Unavailable("this machine has no map of the mesh yet", "see: vpn-client status")
        return network_map

    async def explain(self, request: local.ExplainRequest) -> Explanation:
        """Raises `NotFound`, `InvalidValue`."""
        peer = self._find(request.peer)
        status = await self._status()
        known = next((one for one in status.peers if one.id == peer.id), None)
        if known is None:
            raise Unavailable(f"{peer.hostname} has just left the mesh")
        return explaining.explain(status, known, self._parts.clock().wall)

    async def netcheck(self) -> Netcheck:
        """Try the network out; who asks while that goes on gets the same answer."""
        running = self._netcheck
        if running is None or running.done():
            running = self._netcheck = asyncio.create_task(self._try_network())
        return await asyncio.shield(running)

    async def _try_network(self) -> Netcheck:
        parts, status = self._parts, await self._status()
        control, network_map = parts.membership.control, parts.engine.map
        relays = network_map.relays if network_map else ()
        around = Surroundings(
            private_key=parts.disk.state.private_key,
            control=control,
            relays=relays,
            local=tuple(link.address for link in parts.engine.local),
            nat=status.nat,
            try_websocket=self._try_websocket if any(relay.web for relay in relays) else None,
            proxy=from_environment(control.http.dialer.server),
        )
        return await netcheck(around, parts.clock)

    async def _try_websocket(self) -> None:
        """One that carries packets already works, and a second one would take its place at the relay."""
        relays, now = self._parts.engine.relays, self._parts.clock()
        if not any(report.is_carried and report.answers for report in relays.report(now)):
            await open_once(self._parts.membership.control)

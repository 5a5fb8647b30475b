"""Answers what commands on this machine ask of the agent."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from wireguard_mesh import __version__
from wireguard_mesh.client.parts import Parts
from wireguard_mesh.client.status import peer_statuses
from wireguard_mesh.core import path_view
from wireguard_mesh.core.exit_nodes import ExitMode, ExitPolicy, matches
from wireguard_mesh.core.wanted import tunnel_mtu
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import parse_hostname
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.api import MAX_ENDPOINTS
from wireguard_mesh.protocol.status import ExitStatus, MapStatus, ServerStatus, State, Status

if TYPE_CHECKING:
    from wireguard_mesh.client.diagnosis import Diagnosis


class Requests:
    """Handles the requests of one agent. `end` is called when the agent has nothing left to do."""

    def __init__(self, parts: Parts, end: Callable[[], None]) -> None:
        self._parts: Final = parts
        self._end = end
        self._diagnosing: Diagnosis | None = None

    @property
    def _diagnosis(self) -> Diagnosis:
        if self._diagnosing is None:
            # Only here, for it takes more than half a megabyte, and few agents are ever asked.
            from wireguard_mesh.client.diagnosis import Diagnosis

            self._diagnosing = Diagnosis(self._parts, self._status)
        return self._diagnosing

    async def handle(self, request: local.Request) -> local.Answer:
        """Answer one request. Raises `MeshError`."""
        match request:
            case local.StatusRequest():
                return await self._status()
            case local.NetcheckRequest():
                return await self._diagnosis.netcheck()
            case local.PingRequest():
                return await self._diagnosis.ping(request)
            case local.ExplainRequest():
                return await self._diagnosis.explain(request)
            case local.SetRequest():
                return self._set(request)
            case local.DownRequest():
                return await self._take_down()
            case local.LogoutRequest():
                await self._parts.membership.leave()
                self._parts.disk.forget()
                await self._take_down()
                return local.Done(note=self._parts.disk.problem)

    async def _status(self) -> Status:
        parts = self._parts
        await parts.device.refresh()
        engine, now = parts.engine, parts.clock()
        settings, network_map, device = engine.settings, engine.map, engine.device
        me = network_map.me if network_map else None
        peers = peer_statuses(
            network_map,
            device,
            engine.exit_node,
            lambda key: engine.is_alive(key, now),
            lambda key: engine.path_of(key, now),
        )
        paths = [peer.path for peer in peers]
        relays = path_view.relay_statuses(
            network_map,
            device,
            paths,
            parts.membership.control.http.dialer.remembered,
            engine.relays.report(now),
            now.wall,
        )
        return Status(
            state=State.UP if parts.device.is_up.is_set() else State.JOINING,
            agent_version=__version__,
            pid=os.getpid(),
            started=parts.started,
            interface=settings.interface,
            backend=parts.device.kind,
            mtu=tunnel_mtu(settings, engine.link_mtu),
            listen_port=device.listen_port if device else settings.listen_port,
            hostname=parts.machine.hostname,
            peer_id=me.id if me else parts.disk.state.peer_id,
            public_key=parts.disk.public_key,
            ipv4=me.ipv4 if me else parts.disk.state.assigned_ip,
            ipv6=me.ipv6 if me else None,
            network=network_map.network if network_map else None,
            map=self._map_status(),
            server=self._server_status(),
            exit=self._exit_status(),
            problems=tuple(text for text in (parts.device.problem, parts.disk.problem) if text),
            udp=path_view.udp_state(relays, paths, me.nat if me else NatClass.UNKNOWN),
            nat=path_view.nat_status(network_map, engine.published(MAX_ENDPOINTS)),
            port_mapping=parts.mapper.report,
            relays=relays,
            peers=peers,
        )

    def _map_status(self) -> MapStatus:
        known, follower, now = self._parts.disk.known, self._parts.membership.follower, self._parts.clock()
        confirmed = known.current_at
        return MapStatus(
            revision=known.map.revision if known.map else 0,
            head=known.head.revision if known.head else 0,
            lag=known.lag,
            # By the clock that nobody sets, so that its age is true whatever happened to the other.
            current=now.wall - (now.monotonic - confirmed.monotonic) if confirmed else 0.0,
            source=follower.source,
            problem=follower.problem,
        )

    def _server_status(self) -> ServerStatus:
        contact = self._parts.membership.contact
        return ServerStatus(
            address=str(self._parts.disk.state.server or ""),
            reachable=contact.works,
            since=contact.since,
            heartbeat=self._parts.membership.answered_at,
            problem=contact.problem,
        )

    def _exit_status(self) -> ExitStatus:
        engine = self._parts.engine
        decision = engine.exit_node
        in_use = engine.map.peers.get(decision.key) if engine.map and decision.key else None
        return ExitStatus(
            offered=engine.settings.offers_exit_node,
            policy=str(engine.settings.exit_policy),
            in_use=in_use.id if in_use else None,
            problem=decision.problem,
        )

    def _set(self, request: local.SetRequest) -> local.Done:
        """Everything is judged before anything is changed."""
        parts = self._parts
        settings, machine = parts.engine.settings, parts.machine
        if request.exit_node is not None:
            settings = msgspec.structs.replace(settings, offers_exit_node=request.exit_node)
            machine = msgspec.structs.replace(machine, exit_node=request.exit_node)
        if request.use_exit_node is not None:
            policy = ExitPolicy.parse(request.use_exit_node)
            self._check(policy)
            settings = msgspec.structs.replace(settings, exit_policy=policy)
        if request.hostname is not None:
            machine = msgspec.structs.replace(machine, hostname=parse_hostname(request.hostname))
            parts.disk.change(hostname=machine.hostname)
        parts.engine.configure(settings)
        parts.machine = machine
        parts.disk.change(exit_node=settings.offers_exit_node, use_exit_node=str(settings.exit_policy))
        parts.device.wake()
        parts.membership.announce()
        return local.Done()

    def _check(self, policy: ExitPolicy) -> None:
        """Whoever names a peer means one that offers it. Raises `InvalidValue`."""
        network_map = self._parts.engine.map
        if policy.mode is not ExitMode.PEER or network_map is None:
            return
        if not any(peer.exit_node and matches(peer, policy.peer) for peer in network_map.peers.values()):
            raise InvalidValue(f"{policy.peer} offers no exit node", "see: vpn-client exit-node list")

    async def _take_down(self) -> local.Done:
        parts = self._parts
        if parts.machine.exit_node and not parts.membership.has_left:
            # Others send their traffic here, until they hear that there is another way.
            parts.machine = msgspec.structs.replace(parts.machine, exit_node=False)
            await parts.membership.say_last()
        await parts.device.remove()
        self._end()
        return local.Done()

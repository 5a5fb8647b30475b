"""The agent: wires engine, device, membership, disk and local socket together, and runs them until it shall end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from wireguard_mesh import __version__
from wireguard_mesh.client import options as options_of
from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.device import DeviceKeeper, OpenBackend
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.keeping import Keeper
from wireguard_mesh.client.local_server import LocalServer
from wireguard_mesh.client.membership import Machine, Membership
from wireguard_mesh.client.options import AgentOptions
from wireguard_mesh.client.status import peer_statuses
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.exit_nodes import ExitMode, ExitPolicy, matches
from wireguard_mesh.core.wanted import ETHERNET_MTU, FWMARK, tunnel_mtu
from wireguard_mesh.model.errors import InvalidValue, MeshError
from wireguard_mesh.model.names import parse_hostname
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.model.places import socket_path
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.api import MAX_ENDPOINTS
from wireguard_mesh.system.interface import System

LAST_MAP_AFTER: Final = 1.0  # seconds that a server may take before the mesh of the last run is put up

log = logging.getLogger(__name__)


class Agent:
    """One machine's part in one mesh."""

    def __init__(self, options: AgentOptions, open_backend: OpenBackend, system: System, clock: Clock) -> None:
        state, flags = options.state, options.flags
        assert state.server is not None, "the command line sees to it that there is a server"
        self._clock = clock
        self._system = system
        self._started = clock().wall
        self._directory = options.directory
        self._machine = options_of.machine(state)
        self.engine = Engine(options_of.settings(state, flags))
        self.disk = Keeper(options.folder, state, clock)
        self.device = DeviceKeeper(self.engine, open_backend, system, clock)
        self._dialer = Dialer(state.server, mark=FWMARK, remembered=state.server_ips)
        self._http = HttpClient(self._dialer)
        control = Control(self._http, state.private_key, state.server_public_key, lambda: clock().wall)
        self.membership = Membership(
            control,
            self._describe,
            flags.intervals,
            clock,
            on_map=self._map_arrived,
            on_trouble=lambda _error: self._use_last_map(),
            is_member=bool(state.peer_id),
        )
        self._end = asyncio.Event()

    # Running

    async def run(self) -> None:
        """Until `stop`, `down` or `logout`. Raises the `MeshError` that keeps the mesh from coming up at all."""
        socket = LocalServer(Path(socket_path(self._directory, self.engine.settings.interface)), self.handle)
        try:
            await self._look_at_links()
            await socket.open()
            async with asyncio.TaskGroup() as group:
                work = [
                    group.create_task(coroutine)
                    for coroutine in (
                        self._keep_device(),
                        self.membership.run(),
                        self.disk.run(),
                        self._watch_links(),
                        self._await_first_map(),
                    )
                ]
                group.create_task(self._end_all(work))
        except* MeshError as errors:
            await self._undo_start()
            raise _first(errors) from None
        finally:
            await socket.close()
            self.disk.write()
            self._http.drop_connections()
            await self.device.close()
            await self._system.close()

    def stop(self) -> None:
        """End, and leave the tunnels standing."""
        self._end.set()

    async def _end_all(self, work: list[asyncio.Task[None]]) -> None:
        await self._end.wait()
        for task in work:
            task.cancel()

    async def _undo_start(self) -> None:
        """A start that failed leaves nothing behind; an interface that stood before does stay."""
        if self.device.is_ours_to_remove and not self.device.is_up.is_set():
            try:
                await self.device.remove()
            except MeshError as error:
                log.warning("the interface could not be removed again: %s", error)

    async def _keep_device(self) -> None:
        await self.device.open()
        log.debug("stage=interface")
        await self.device.run()

    async def _await_first_map(self) -> None:
        await asyncio.sleep(LAST_MAP_AFTER)
        self._use_last_map()
        await self.device.is_up.wait()
        # What stands now stays for long: the collector need not look through it again.
        gc.collect()
        gc.freeze()

    # Events

    def _map_arrived(self, network_map: NetworkMap) -> None:
        is_first = self.engine.map is None or not self.disk.state.peer_id
        self.engine.map_arrived(network_map, self._clock())
        self.device.wake()
        self.disk.keep_map(network_map)
        self.disk.change(
            peer_id=network_map.me.id,
            assigned_ip=network_map.me.ipv4,
            server_public_key=self.membership.control.server_key,
            server_ips=self._dialer.remembered,
        )
        if is_first:
            log.debug("stage=map")
            log.info(
                "this machine is %s, %s and %s in the mesh, as %s",
                network_map.me.hostname, network_map.me.ipv4, network_map.me.ipv6, network_map.me.id,
            )  # fmt: skip

    def _use_last_map(self) -> None:
        """Start from the map of the last run, if there is one and none came yet."""
        if self.engine.map is not None:
            return
        last = self.disk.last_map()
        if last is not None:
            log.info("starting from the last map, since no newer one came yet peers=%d", len(last.peers))
            self.engine.map_arrived(last, self._clock())
            self.device.wake()

    async def _watch_links(self) -> None:
        async for event in self._system.watch(self.engine.settings.interface):
            log.debug("the host's network changed what=%s", event)
            before = self.engine.local
            await self._look_at_links()
            self.device.wake(host_changed=True)
            if self.engine.local != before:
                self._http.drop_connections()
                self.membership.announce()

    async def _look_at_links(self) -> None:
        try:
            addresses = await self._system.local_addresses()
            mtu = await self._link_mtu()
        except MeshError as error:
            log.warning("the host's addresses cannot be read: %s", error)
            return
        self.engine.links_changed(addresses, mtu, self._clock())

    async def _link_mtu(self) -> int:
        server = self._dialer.server.host
        try:
            return await self._system.path_mtu(ip_address(server))
        except ValueError:
            known = self._dialer.remembered
            return await self._system.path_mtu(known[0]) if known else ETHERNET_MTU

    def _describe(self) -> Machine:
        return msgspec.structs.replace(self._machine, endpoints=self.engine.published(MAX_ENDPOINTS))

    # Requests of commands

    async def handle(self, request: local.Request) -> local.Answer:
        """Answer one request from the local socket. Raises `MeshError`."""
        match request:
            case local.StatusRequest():
                return await self.status()
            case local.SetRequest():
                return self._set(request)
            case local.DownRequest():
                return await self._leave_host(None)
            case local.LogoutRequest():
                return await self._leave_host(self.membership.leave())

    async def status(self) -> local.Status:
        """What stands now; the device is read for it."""
        await self.device.refresh()
        settings, now, network_map = self.engine.settings, self._clock(), self.engine.map
        me = network_map.me if network_map else None
        exit_node = self.engine.exit_node
        in_use = network_map.peers.get(exit_node.key) if network_map and exit_node.key else None
        contact = self.membership.contact
        device = self.engine.device
        return local.Status(
            state=local.State.UP if self.device.is_up.is_set() else local.State.JOINING,
            agent_version=__version__,
            pid=os.getpid(),
            started=self._started,
            interface=settings.interface,
            backend=self.device.kind,
            mtu=tunnel_mtu(settings, self.engine.link_mtu),
            listen_port=device.listen_port if device else settings.listen_port,
            hostname=self._machine.hostname,
            peer_id=me.id if me else self.disk.state.peer_id,
            public_key=self.disk.public_key,
            ipv4=me.ipv4 if me else self.disk.state.assigned_ip,
            ipv6=me.ipv6 if me else None,
            network=network_map.network if network_map else None,
            map_revision=network_map.revision if network_map else 0,
            map_received=self.membership.map_received,
            server=local.ServerStatus(
                address=str(self._dialer.server),
                reachable=contact.works,
                since=contact.since,
                problem=contact.problem,
            ),
            exit=local.ExitStatus(
                offered=settings.offers_exit_node,
                policy=str(settings.exit_policy),
                in_use=in_use.id if in_use else None,
                problem=exit_node.problem,
            ),
            problems=tuple(text for text in (self.device.problem, self.disk.problem) if text),
            peers=peer_statuses(network_map, device, exit_node, lambda key: self.engine.is_alive(key, now)),
        )

    def _set(self, request: local.SetRequest) -> local.Done:
        """Everything is judged before anything is changed."""
        settings, machine = self.engine.settings, self._machine
        if request.exit_node is not None:
            settings = msgspec.structs.replace(settings, offers_exit_node=request.exit_node)
            machine = msgspec.structs.replace(machine, exit_node=request.exit_node)
        if request.use_exit_node is not None:
            policy = ExitPolicy.parse(request.use_exit_node)
            self._check_exit_node(policy)
            settings = msgspec.structs.replace(settings, exit_policy=policy)
        if request.hostname is not None:
            machine = msgspec.structs.replace(machine, hostname=parse_hostname(request.hostname))
            self.disk.change(hostname=machine.hostname)
        self.engine.configure(settings)
        self._machine = machine
        self.disk.change(exit_node=settings.offers_exit_node, use_exit_node=str(settings.exit_policy))
        self.device.wake()
        self.membership.announce()
        return local.Done()

    def _check_exit_node(self, policy: ExitPolicy) -> None:
        if policy.mode is not ExitMode.PEER or self.engine.map is None:
            return
        if not any(peer.exit_node and matches(peer, policy.peer) for peer in self.engine.map.peers.values()):
            raise InvalidValue(f"{policy.peer} offers no exit node", "see: vpn-client exit-node list")

    async def _leave_host(self, first: Awaitable[None] | None) -> local.Done:
        """Take everything away; the answer goes out before the agent ends."""
        if first is not None:
            await first
            self.disk.forget()
        await self.device.remove()
        log.info("the interface is removed, and all that was set for it is undone")
        asyncio.get_running_loop().call_later(0, self._end.set)
        return local.Done()


def _first(errors: BaseExceptionGroup[MeshError]) -> MeshError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MeshError)
    return error

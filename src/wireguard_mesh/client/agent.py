"""The agent: wires engine, device, membership, disk and local socket together, and runs them until it shall end."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import msgspec

from wireguard_mesh.client import options as options_of
from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.device import DeviceKeeper, OpenBackend
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.keeping import Keeper
from wireguard_mesh.client.links import Links
from wireguard_mesh.client.local_server import LocalServer
from wireguard_mesh.client.membership import Machine, Membership
from wireguard_mesh.client.options import AgentOptions
from wireguard_mesh.client.parts import Parts
from wireguard_mesh.client.port_mapping import PortMapper, mapping_nonce
from wireguard_mesh.client.proxy import from_environment
from wireguard_mesh.client.relaying import Relaying
from wireguard_mesh.client.requests import Requests
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.wanted import FWMARK
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.places import socket_path
from wireguard_mesh.protocol.api import MAX_ENDPOINTS
from wireguard_mesh.system.interface import System

_CANCEL_AGAIN: Final = 0.5  # seconds that a task may take to end
LAST_MAP_AFTER: Final = 1.0  # seconds that a server may take before the mesh of the last run is put up

log = logging.getLogger(__name__)


class Agent:
    """One machine's part in one mesh."""

    def __init__(
        self,
        options: AgentOptions,
        open_backend: OpenBackend,
        system: System,
        clock: Clock,
        gateway: Callable[[], IPv4Address | None] = lambda: None,
    ) -> None:
        """`gateway`: the router that may be asked to forward WireGuard's port, if there is any now."""
        state, flags = options.state, options.flags
        assert state.server is not None, "the command line sees to it that there is a server"
        self._system = system
        self._clock = clock
        self._directory = options.directory
        self._end = asyncio.Event()
        proxy = from_environment(state.server)
        self._http = HttpClient(Dialer(state.server, mark=FWMARK, remembered=state.server_ips, proxy=proxy))
        self._is_down = False
        engine = Engine(options_of.settings(state, flags))
        control = Control(self._http, state.private_key, state.server_public_key, lambda: clock().wall)
        disk = Keeper(options.folder, state, clock)
        relaying = Relaying(engine, control, clock, on_path_news=self._look_at_device, on_distances=self._announce)
        self._me: Peer | None = None
        self.parts = Parts(
            clock=clock,
            started=clock().wall,
            engine=engine,
            device=DeviceKeeper(engine, open_backend, system, clock, self._announce),
            membership=Membership(
                control,
                disk.known,
                self._describe,
                flags.intervals,
                clock,
                on_member=self._belong,
                on_map=self._use_map,
                on_trouble=self._use_last_map,
                is_member=bool(state.peer_id),
            ),
            disk=disk,
            machine=options_of.machine(state),
            relaying=relaying,
            mapper=PortMapper(
                engine.own_port,
                clock,
                lambda _: self._announce(),
                nonce=mapping_nonce(state.private_key),
                gateway=gateway,
            ),
        )
        self._links = Links(
            system, engine, self._http.dialer, clock, on_change=self._links_changed, on_moved=self._moved
        )

    # Running

    async def run(self) -> None:
        """Until `stop`, `down` or `logout`. Raises the `MeshError` that keeps the mesh from coming up at all."""
        socket = LocalServer(
            Path(socket_path(self._directory, self.parts.engine.settings.interface)),
            Requests(self.parts, self._take_leave).handle,
        )
        try:
            problem = await self._work(socket)
            if problem is not None:
                await self._undo_start()
                raise problem
        finally:
            await socket.close()
            self.parts.disk.write()
            self._http.drop_connections()
            if self._is_down:
                await self.parts.mapper.release()
            await self.parts.device.close()
            await self._system.close()

    async def _work(self, socket: LocalServer) -> MeshError | None:
        """All that an agent does, until it is to end; returns what kept it from starting."""
        problem: MeshError | None = None
        try:
            await self._links.look()
            await self.parts.device.expect_forwarding()
            await socket.open()
            async with asyncio.TaskGroup() as group:
                work = [
                    group.create_task(coroutine)
                    for coroutine in (
                        self.parts.device.run(),
                        self.parts.membership.run(),
                        self.parts.disk.run(),
                        self.parts.relaying.run(),
                        self._map_port(),
                        self._links.watch(),
                        self._settle_in(),
                    )
                ]
                group.create_task(self._end_all(work))
        except* MeshError as errors:
            problem = _first(errors)  # not raised here: before Python 3.11.4 it would come out as a group of one
        return problem

    def stop(self) -> None:
        """End, and leave the tunnels standing."""
        self._end.set()

    def _take_leave(self) -> None:
        log.info("the interface is removed, and all that was set for it is undone")
        self._is_down = True
        self._end.set()

    async def _end_all(self, work: list[asyncio.Task[None]]) -> None:
        await self._end.wait()
        # Again if need be: Python's task group loses a cancellation that comes as one of its children fails.
        while pending := [task for task in work if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=_CANCEL_AGAIN)

    async def _undo_start(self) -> None:
        """A start that failed leaves nothing behind; an interface that stood before does stay."""
        if self.parts.device.is_ours_to_remove and not self.parts.device.is_up.is_set():
            try:
                await self.parts.device.remove()
            except MeshError as error:
                log.warning("the interface could not be removed again: %s", error)
            if await self.parts.membership.withdraw():
                self.parts.disk.forget()

    async def _map_port(self) -> None:
        await self.parts.device.is_up.wait()  # what others wait for comes first, and WireGuard's port is known
        await self.parts.mapper.run()

    async def _settle_in(self) -> None:
        await asyncio.sleep(LAST_MAP_AFTER)
        self._use_last_map()
        await self.parts.device.is_up.wait()
        # Only now are known the port that the system chose, if it was to, and where a server with a name is.
        await self.parts.device.refresh()
        await self._links.look()
        self.parts.device.wake()
        if self.parts.engine.settings.listen_port == 0:
            self.parts.membership.announce()
        # What stands now stays for long: the collector need not look through it again.
        gc.collect()
        gc.freeze()

    # Events

    def _belong(self, me: Peer) -> None:
        """The server says that this machine is `me`."""
        self.parts.disk.change(
            peer_id=me.id,
            assigned_ip=me.ipv4,
            server_public_key=self.parts.membership.control.server_key,
            server_ips=self._http.dialer.remembered,
        )
        before, self._me = self._me, me
        if before is None or (before.id, before.ipv4, before.ipv6) != (me.id, me.ipv4, me.ipv6):
            log.info("this machine is %s, with the addresses %s and %s, as %s", me.hostname, me.ipv4, me.ipv6, me.id)

    def _use_map(self) -> None:
        """The mesh is to be as the known map has it."""
        network_map = self.parts.disk.known.map
        if network_map is None or network_map is self.parts.engine.map:
            return
        if self.parts.engine.map is None:
            log.debug("stage=map")
        self.parts.engine.server_reached(self._http.dialer.remembered)
        self.parts.engine.map_arrived(network_map, self._clock())
        self.parts.device.map_changed()
        self.parts.disk.map_changed()
        self._belong(network_map.me)

    def _use_last_map(self) -> None:
        """Start from the map of the last run, if there is one and none came yet."""
        last = self.parts.disk.known.map
        if self.parts.engine.map is None and last is not None:
            log.info("starting from the last map, since no newer one came yet peers=%d", len(last.peers))
            self._use_map()

    def _links_changed(self) -> None:
        self.parts.device.wake(host_changed=True)

    def _moved(self) -> None:
        """This machine has other addresses: what is open may be dead."""
        self._http.drop_connections()
        self.parts.relaying.network_changed()
        self.parts.mapper.network_changed()
        self.parts.membership.network_changed({local.address for local in self.parts.engine.local})

    def _describe(self) -> Machine:
        machine = self.parts.machine
        return msgspec.structs.replace(
            machine,
            endpoints=self.parts.engine.published(MAX_ENDPOINTS),
            mapped=self.parts.mapper.mapped,
            distances=self.parts.relaying.distances,
            exit_node=machine.exit_node and self.parts.device.forwards,
        )

    def _announce(self) -> None:
        self.parts.membership.announce()

    def _look_at_device(self) -> None:
        self.parts.device.wake()


def _first(errors: BaseExceptionGroup[MeshError]) -> MeshError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, MeshError)
    return error

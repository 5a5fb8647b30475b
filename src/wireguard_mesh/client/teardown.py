"""What commands do when no agent runs: take the interface away, leave the mesh, tell the status."""

from __future__ import annotations

import time
from pathlib import Path

from wireguard_mesh.client.control import Control, NotRegistered
from wireguard_mesh.client.device import OpenBackend
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.ownership import stands_foreign
from wireguard_mesh.client.proxy import from_environment
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.client.status import peer_statuses
from wireguard_mesh.core import path_view
from wireguard_mesh.core.exit_nodes import ExitDecision
from wireguard_mesh.core.tunnels import is_fresh
from wireguard_mesh.core.wanted import FWMARK
from wireguard_mesh.model.devices import ObservedDevice
from wireguard_mesh.model.errors import Conflict, MeshError, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import PathReport
from wireguard_mesh.model.places import socket_path
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.status import ExitStatus, MapStatus, ServerStatus, State, Status
from wireguard_mesh.system.interface import System
from wireguard_mesh.wireguard.interface import Backend


async def take_down(
    interface: InterfaceName, state: ClientState | None, backend: Backend | None, system: System
) -> bool:
    """Undo all that an agent set for the interface, and remove it. False if nothing of ours stands.

    `backend` None: this machine has no WireGuard, so no such interface either.
    Raises `Conflict` if the interface is not ours.
    """
    is_foreign = await stands_foreign(interface, state.private_key if state else None, backend, system)
    stands = not is_foreign and backend is not None and await _stands(interface, backend, system)
    is_undone = await system.undo(interface)
    if is_foreign:
        raise Conflict(f"the interface {interface} is not ours, so it is left alone")
    if backend is not None and (stands or is_undone):
        await backend.remove(interface)
    return stands or is_undone


async def _stands(interface: InterfaceName, backend: Backend, system: System) -> bool:
    try:
        return await backend.read(interface) is not None
    except Unavailable:  # its program hangs
        return await system.exists(interface)


def remove_socket(directory: str, interface: InterfaceName) -> None:
    """Take away what an agent that was killed left of its socket."""
    Path(socket_path(directory, interface)).unlink(missing_ok=True)


async def leave(folder: StateFolder, state: ClientState) -> None:
    """Give up this machine's place in the mesh. Raises `MeshError` if the server does not hear it."""
    if state.server is not None and state.peer_id:
        proxy = from_environment(state.server)
        http = HttpClient(Dialer(state.server, mark=FWMARK, remembered=state.server_ips, proxy=proxy))
        try:
            await Control(http, state.private_key, state.server_public_key, time.time).leave()
        except NotRegistered:
            pass  # it has no place there: as good
        finally:
            http.drop_connections()
    folder.forget_place(state)


async def offline_status(
    folder: StateFolder, state: ClientState, interface: InterfaceName, open_backend: OpenBackend
) -> Status:
    """The status by disk and device. That the device cannot be asked is part of the status."""
    device: ObservedDevice | None = None
    problem = ""
    try:
        backend = await open_backend(interface)
        try:
            device = await backend.read(interface)
        finally:
            await backend.close()
    except MeshError as error:
        problem = str(error)
    wall = time.time()
    last = folder.load_map(state.private_key.public_key, state.server_public_key)
    me = last.me if last else None
    relays_at = path_view.relays_by_endpoint(last, device, state.server_ips)

    def path_of(key: PublicKey) -> PathReport:
        assert last is not None, "there are no peers without a map"
        seen = device.peers.get(key) if device else None
        return path_view.path_of_device(last.peers[key], seen, relays_at, is_alive=is_fresh(device, key, wall))

    peers = peer_statuses(last, device, ExitDecision(), lambda key: is_fresh(device, key, wall), path_of)
    paths = [peer.path for peer in peers]
    relays = path_view.relay_statuses(last, device, paths, state.server_ips, (), wall)
    return Status(
        state=State.STOPPED,
        interface=interface,
        backend=device.backend if device else None,
        listen_port=device.listen_port if device else state.listen_port,
        hostname=me.hostname if me else state.hostname,
        peer_id=state.peer_id,
        public_key=state.private_key.public_key,
        ipv4=state.assigned_ip,
        ipv6=me.ipv6 if me else None,
        network=last.network if last else None,
        map=MapStatus(revision=last.revision if last else 0),
        server=ServerStatus(address=str(state.server or "")),
        exit=ExitStatus(offered=state.exit_node, policy=state.use_exit_node),
        problems=(problem,) if problem else (),
        udp=path_view.udp_state(relays, paths, me.nat if me else NatClass.UNKNOWN),
        nat=path_view.nat_status(last, ()),
        relays=relays,
        peers=peers,
    )

"""A netcheck where no agent runs: by the identity and the last map on disk."""

from __future__ import annotations

import functools
import time
from pathlib import Path

from wireguard_mesh.client import clock
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.netcheck import Surroundings, netcheck, open_once
from wireguard_mesh.client.proxy import from_environment
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.core import path_view
from wireguard_mesh.core.wanted import FWMARK
from wireguard_mesh.protocol.diagnosis import Netcheck
from wireguard_mesh.system.interface import System
from wireguard_mesh.system.linux import LinuxSystem


async def lone_netcheck(folder: StateFolder, state: ClientState, directory: str) -> Netcheck:
    """For the machine whose identity that is. Raises `MeshError` if disk or system cannot be read."""
    system = LinuxSystem(Path(directory))
    try:
        return await netcheck_by_disk(folder, state, system)
    finally:
        await system.close()


async def netcheck_by_disk(folder: StateFolder, state: ClientState, system: System) -> Netcheck:
    """The same, on any system."""
    assert state.server is not None, "the command sees to it that there is a server"
    proxy = from_environment(state.server)
    http = HttpClient(Dialer(state.server, mark=FWMARK, remembered=state.server_ips, proxy=proxy))
    last = folder.load_map(state.private_key.public_key, state.server_public_key)
    relays = last.relays if last else ()
    control = Control(http, state.private_key, state.server_public_key, time.time)
    around = Surroundings(
        private_key=state.private_key,
        control=control,
        relays=relays,
        try_websocket=functools.partial(open_once, control) if any(relay.web for relay in relays) else None,
        local=tuple(link.address for link in await system.local_addresses()),
        nat=path_view.nat_status(last, ()),
        proxy=proxy,
    )
    try:
        return await netcheck(around, clock.now)
    finally:
        http.drop_connections()

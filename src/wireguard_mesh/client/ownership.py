"""Whose an interface is: this machine's agent made it, or it is somebody else's and left alone."""

from __future__ import annotations

from wireguard_mesh.model.devices import ObservedDevice
from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.system.interface import System
from wireguard_mesh.wireguard.interface import Backend


async def is_ours(device: ObservedDevice, private_key: PrivateKey | None, system: System) -> bool:
    """Whether this device is one of ours: by its key, or because an agent of ours made the very interface."""
    if device.private_key is not None and device.private_key == private_key:
        return True
    return await system.owns(device.name, has_key=device.private_key is not None)


async def stands_foreign(
    name: InterfaceName, private_key: PrivateKey | None, backend: Backend | None, system: System
) -> bool:
    """Whether an interface of that name stands that is not ours. `backend` None: this machine has no WireGuard."""
    try:
        device = await backend.read(name) if backend else None
    except Unavailable:
        device = None  # its program hangs: the system knows whether it is ours
    if device is not None:
        return not await is_ours(device, private_key, system)
    return await system.exists(name) and not await system.owns(name, has_key=True)


def not_ours(name: InterfaceName) -> Conflict:
    """What to say of an interface that is somebody else's."""
    return Conflict(f"an interface named {name} stands already and is not ours", "choose another name with -interface")

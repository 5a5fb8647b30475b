"""Which WireGuard this machine gets: the kernel's where it has it, wireguard-go elsewhere."""

from __future__ import annotations

from typing import Final

from wireguard_mesh.model.devices import BackendChoice
from wireguard_mesh.model.errors import MeshError, NotPermitted, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.wireguard.interface import Backend
from wireguard_mesh.wireguard.kernel import KernelBackend
from wireguard_mesh.wireguard.userspace import UserspaceBackend, check_machine

# A name that nobody gives by hand, of an interface that is made for a moment to see whether the kernel can.
TRIAL: Final = InterfaceName("wgmesh-trial")
_TRIAL_MTU: Final = 1280


async def choose(name: InterfaceName, choice: BackendChoice = "auto") -> Backend:
    """The backend for the interface `name`.

    One that has such an interface already adopts it, whatever was chosen: a standing tunnel is never cut. Otherwise the
    choice is made, or, with "auto", the kernel's if it can. Raises `Unsupported` (saying what to install) or
    `NotPermitted` if nothing can.
    """
    kernel, userspace = KernelBackend(), UserspaceBackend()
    chosen: Backend | None = None
    try:
        chosen = await _choose(name, choice, kernel, userspace)
    finally:
        for backend in (kernel, userspace):
            if backend is not chosen:
                await backend.close()
    return chosen


async def _choose(
    name: InterfaceName, choice: BackendChoice, kernel: KernelBackend, userspace: UserspaceBackend
) -> Backend:
    for backend in (kernel, userspace):
        if await _has(backend, name):
            return backend
    if choice != "userspace":
        try:
            await kernel.create(TRIAL, _TRIAL_MTU)
            await kernel.remove(TRIAL)
        except Unsupported:
            if choice == "kernel":
                raise
        else:
            return kernel
    check_machine()
    return userspace


async def _has(backend: Backend, name: InterfaceName) -> bool:
    try:
        return await backend.read(name) is not None
    except NotPermitted:
        raise
    except MeshError:
        return False

"""The one seam between the mesh and WireGuard: a backend creates, reads, changes and removes a device.

Decisions are made elsewhere (`core.plan`): a backend gets a `DeviceChange` and carries it out in as few system calls as
its interface allows. All methods are coroutines that never block the loop for more than a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice
from wireguard_mesh.model.names import InterfaceName


class Backend(Protocol):
    """One way to have a WireGuard device. Implementations: kernel, userspace, and a fake for tests."""

    @property
    def kind(self) -> BackendKind:
        """Which WireGuard this is, as `status` says it."""

    async def create(self, name: InterfaceName, mtu: int) -> None:
        """Make the interface, down and without keys.

        Raises `Conflict` if an interface of that name stands, `Unsupported` (with what to install or to run) if this
        machine cannot, `NotPermitted` without the privilege.
        """

    async def read(self, name: InterfaceName) -> ObservedDevice | None:
        """What stands, or None if no WireGuard device of this backend has that name.

        Raises `NotPermitted` without the privilege.
        """

    async def apply(self, name: InterfaceName, change: DeviceChange) -> None:
        """Carry out a change, however many peers it has. Doing it twice changes nothing more.

        Raises `NotFound` if the device is gone (the caller makes it anew), `Unavailable` for a passing fault.
        """

    async def probe(self, name: InterfaceName, steps: Sequence[DeviceChange]) -> None:
        """Carry out changes one after the other, over one open socket, each a moment after the one before: as long as
        this WireGuard takes until a packet that the one before asked for has left for where it pointed.

        The last one is carried out whatever happens before, if the device stands. Raises as `apply`.
        """

    async def remove(self, name: InterfaceName) -> None:
        """Take the interface away; nothing happens if it is gone already."""

    async def close(self) -> None:
        """Let go of sockets. The device stays."""

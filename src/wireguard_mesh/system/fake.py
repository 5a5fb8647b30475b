"""A host that exists in memory only, with handles for tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final, Literal

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import Conflict, MeshError, NotFound
from wireguard_mesh.model.hosts import LocalAddress, WantedHost
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.system.interface import LinkEvent

Operation = Literal["prepare", "apply", "undo"]
DEFAULT_MTU: Final = 1500


class FakeSystem:
    """A host in memory.

    `interfaces` are the names that stand: whoever plays the WireGuard backend adds and removes them (or set
    `any_interface`, then every name stands for `apply`). `owned` is the journal, `replaced` the names whose interface
    somebody else made anew, `exit_fault` what keeps exit routing from being set, `applied` what each interface's host
    state is, `local_routes` are routes that are not ours, `addresses` and `mtus` what `local_addresses` and `path_mtu`
    answer. `count` counts operations.
    """

    def __init__(self, *, any_interface: bool = True) -> None:
        self.any_interface = any_interface
        self.interfaces: set[InterfaceName] = set()
        self.owned: set[InterfaceName] = set()
        self.replaced: set[InterfaceName] = set()
        self.exit_fault: MeshError | None = None
        self.applied: dict[InterfaceName, WantedHost] = {}
        self.local_routes: set[Prefix] = set()
        self.addresses: list[LocalAddress] = []
        self.mtus: dict[Address, int] = {}
        self.count: Counter[Operation] = Counter()
        self.closed = False
        self._watchers: list[tuple[InterfaceName, asyncio.Queue[LinkEvent]]] = []
        self._faults: dict[Operation, list[MeshError]] = {}

    def fail(self, operation: Operation, error: MeshError, times: int = 1) -> None:
        """The next `times` calls of `operation` raise `error` and change nothing."""
        self._faults.setdefault(operation, []).extend([error] * times)

    def emit(self, interface: InterfaceName, event: LinkEvent) -> None:
        """Tell those who watch with this interface as their own."""
        for watched, queue in self._watchers:
            if watched == interface:
                queue.put_nowait(event)

    async def prepare(self, interface: InterfaceName) -> None:
        """See `System.prepare`."""
        self._start("prepare")
        self.owned.add(interface)

    async def owns(self, interface: InterfaceName, *, has_key: bool) -> bool:
        """See `System.owns`."""
        is_noted = interface in self.applied
        return interface in self.owned - self.replaced and (is_noted or not has_key)

    async def exists(self, interface: InterfaceName) -> bool:
        """See `System.exists`."""
        return interface in self.interfaces

    async def apply(self, wanted: WantedHost) -> MeshError | None:
        """See `System.apply`."""
        self._start("apply")
        if not self.any_interface and wanted.interface not in self.interfaces:
            raise NotFound(f"there is no interface {wanted.interface}")
        for route in wanted.routes:
            for local in self.local_routes:
                if local.overlaps(route):
                    raise Conflict(
                        f"the mesh network {route} overlaps the local route {local}",
                        "start the server with another -network",
                    )
        self.applied[wanted.interface] = wanted
        return self.exit_fault if wanted.exit_routing or wanted.forwarding else None

    async def undo(self, interface: InterfaceName) -> bool:
        """See `System.undo`."""
        self._start("undo")
        is_known = interface in self.owned
        self.applied.pop(interface, None)
        self.owned.discard(interface)
        return is_known

    async def local_addresses(self) -> list[LocalAddress]:
        """See `System.local_addresses`."""
        return list(self.addresses)

    async def path_mtu(self, destination: Address) -> int:
        """See `System.path_mtu`."""
        return self.mtus.get(destination, DEFAULT_MTU)

    async def watch(self, interface: InterfaceName) -> AsyncIterator[LinkEvent]:
        """See `System.watch`."""
        queue: asyncio.Queue[LinkEvent] = asyncio.Queue()
        self._watchers.append((interface, queue))
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.remove((interface, queue))

    async def close(self) -> None:
        """See `System.close`."""
        self.closed = True

    def _start(self, operation: Operation) -> None:
        self.count[operation] += 1
        faults = self._faults.get(operation)
        if faults:
            raise faults.pop(0)

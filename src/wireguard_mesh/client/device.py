"""Keeps device and host as the engine wants them: adopts or makes the interface, reads it, applies the difference."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.core.contact import Contact
from wireguard_mesh.core.engine import Engine, Wanted
from wireguard_mesh.core.plan import calls, plan
from wireguard_mesh.core.wanted import tunnel_mtu
from wireguard_mesh.model.devices import BackendKind, ObservedDevice
from wireguard_mesh.model.errors import Conflict, MeshError, NotFound, NotPermitted, Unsupported
from wireguard_mesh.model.hosts import WantedHost
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.system.interface import System
from wireguard_mesh.wireguard.interface import Backend

OpenBackend = Callable[[InterfaceName], Awaitable[Backend]]

_RETRY: Final = Backoff(first=0.5, longest=30.0)
_SETTLE: Final = 0.02  # seconds that a burst of changes in the host is gathered for

log = logging.getLogger(__name__)


class DeviceKeeper:
    """One interface. `wake` says that something may have changed; `problem` is why it is not as wanted, or ""."""

    def __init__(self, engine: Engine, open_backend: OpenBackend, system: System, clock: Clock) -> None:
        self.engine = engine
        self.system = system
        self.is_ours_to_remove = False
        self._open_backend = open_backend
        self._backend: Backend | None = None
        self._is_removed = False
        self._one_at_a_time = asyncio.Lock()
        self._clock = clock
        self._contact = Contact()
        self._wake = asyncio.Event()
        self._failures = 0
        self._host: WantedHost | None = None
        self._exit_problem = ""
        self.is_up = asyncio.Event()

    @property
    def problem(self) -> str:
        """Why the interface is not as wanted, or ""."""
        return self._contact.problem

    def wake(self, *, host_changed: bool = False) -> None:
        """Look again soon. `host_changed`: routes or addresses may not be as we set them."""
        if host_changed:
            self._host = None
        self._wake.set()

    @property
    def kind(self) -> BackendKind | None:
        """Which WireGuard the interface is, once that is known."""
        return self._backend.kind if self._backend else None

    async def open(self) -> None:
        """Adopt the interface if it is ours, make it if there is none.

        Raises `Conflict` for one that is not ours, `Unsupported` or `NotPermitted` if this machine cannot.
        """
        name = self.engine.settings.interface
        backend = self._backend = await self._open_backend(name)
        device = await backend.read(name)
        if device is None:
            await self._create(backend)
            return
        if not (device.private_key == self.engine.settings.private_key or await self.system.owns(name)):
            raise _not_ours(name)
        log.info("the interface stands already, its tunnels go on interface=%s peers=%d", name, len(device.peers))
        self.engine.observed(device, self._clock())

    async def _create(self, backend: Backend) -> None:
        name = self.engine.settings.interface
        if await self.system.exists(name):
            raise _not_ours(name)
        await self.system.prepare(name)
        await backend.create(name, tunnel_mtu(self.engine.settings, self.engine.link_mtu))
        self._host = None
        self.is_ours_to_remove = not self.is_up.is_set()
        self.engine.device_is_new(self._clock())
        log.info("interface created interface=%s backend=%s", name, backend.kind)

    async def run(self) -> NoReturn:
        """Keep it as wanted, for ever. Faults are said once and tried again.

        Raises what the user must put right (`Conflict`, `NotPermitted`, `Unsupported`) as long as it was never up.
        """
        while True:
            self._wake.clear()
            wait = await self._reconcile_safely()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            # A new map is not kept waiting: a newcomer's first handshake may be under way to us.
            if self._host is None and self.is_up.is_set():
                await asyncio.sleep(_SETTLE)

    async def _reconcile_safely(self) -> float:
        """Seconds until it should be done again."""
        try:
            await self.reconcile()
        except (MeshError, OSError) as error:
            if not self.is_up.is_set() and isinstance(error, (Conflict, NotPermitted, Unsupported)):
                raise
            self._failures += 1
            if self._contact.failed(str(error), self._clock()):
                log.warning("the interface cannot be set up now, will try again: %s", error)
            return _RETRY.delay(self._failures, random.random())
        now = self._clock()
        self._failures = 0
        if self._contact.succeeded(now):
            log.info("the interface is as it should be again")
        return max(0.0, self.engine.next_look(now) - now.monotonic)

    async def refresh(self) -> None:
        """Read the device for somebody who asks how it is. A fault is for `run` to say."""
        async with self._one_at_a_time:
            if self._backend is None or self._is_removed:
                return
            with contextlib.suppress(MeshError):
                device = await self._backend.read(self.engine.settings.interface)
                if device is not None:
                    self.engine.observed(device, self._clock())

    async def reconcile(self) -> None:
        """Read, decide, apply what differs: once."""
        async with self._one_at_a_time:
            if self._backend is None or self._is_removed:
                return
            device = await self._read_or_create(self._backend)
            now = self._clock()
            self.engine.observed(device, now)
            wanted = self.engine.wanted(now)
            if wanted is not None:
                await self._apply(self._backend, device, wanted)

    async def _read_or_create(self, backend: Backend) -> ObservedDevice:
        name = self.engine.settings.interface
        device = await backend.read(name)
        if device is None:
            log.warning("the interface is gone, making it anew interface=%s", name)
            await self._create(backend)
            device = await backend.read(name)
        if device is None:
            raise NotFound(f"the interface {name} vanished as soon as it was made")
        return device

    async def _apply(self, backend: Backend, device: ObservedDevice, wanted: Wanted) -> None:
        change = plan(wanted.device, device)
        if not change.is_empty:
            await backend.apply(device.name, change)
        call = calls(wanted.device, device, wanted.calls)
        if not call.is_empty:
            await backend.apply(device.name, call)
        self.engine.applied(wanted, self._clock())
        if wanted.host != self._host:
            await self.system.apply(wanted.host)
            self._host = wanted.host
        self._say_exit_problem(wanted.exit_node.problem)
        if not self.is_up.is_set():
            log.info("the mesh is up interface=%s peers=%d", device.name, len(wanted.device.peers))
            self.is_up.set()

    def _say_exit_problem(self, problem: str) -> None:
        if problem and problem != self._exit_problem:
            log.warning("exit node: %s", problem)
        elif self._exit_problem and not problem:
            log.info("exit node: in order again")
        self._exit_problem = problem

    async def remove(self) -> None:
        """Take the interface away, and all that was set for it in the system; it is not made again."""
        async with self._one_at_a_time:
            self._is_removed = True
            name = self.engine.settings.interface
            await self.system.undo(name)
            if self._backend is not None:
                await self._backend.remove(name)

    async def close(self) -> None:
        """Let go of the backend. The interface stays."""
        if self._backend is not None:
            await self._backend.close()


def _not_ours(name: InterfaceName) -> Conflict:
    return Conflict(f"an interface named {name} stands already and is not ours", "choose another name with -interface")

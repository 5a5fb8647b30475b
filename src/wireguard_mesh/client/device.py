"""Keeps device and host as the engine wants them: adopts or makes the interface, reads it, applies the difference."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.ownership import is_ours, not_ours, stands_foreign
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
_HOST_CHECK: Final = 10.0  # seconds; others' firewalls are reloaded now and then, and ours goes with them
_SETTLE: Final = 0.02  # seconds that a burst of changes in the host is gathered for

log = logging.getLogger(__name__)


class DeviceKeeper:
    """One interface. `wake` says that something may have changed; `problem` is why it is not as wanted, or "".

    `on_forwarding` is called when `forwards`, whether this machine can carry others' traffic now, is another.
    """

    def __init__(
        self,
        engine: Engine,
        open_backend: OpenBackend,
        system: System,
        clock: Clock,
        on_forwarding: Callable[[], None] = lambda: None,
    ) -> None:
        self.engine = engine
        self.system = system
        self.is_ours_to_remove = False
        self.forwards = False
        self._on_forwarding = on_forwarding
        self._is_open = False
        self._host_checked = float("-inf")
        self._exit_fault = ""
        self._open_backend = open_backend
        self._backend: Backend | None = None
        self._is_removed = False
        self._one_at_a_time = asyncio.Lock()
        self._clock = clock
        self._contact = Contact()
        self._wake = asyncio.Event()
        self._must_look = True
        self._failures = 0
        self._host: WantedHost | None = None
        self._exit_problem = ""
        self.is_up = asyncio.Event()

    @property
    def problem(self) -> str:
        """Why the interface is not as wanted, or ""."""
        return self._contact.problem or self._exit_fault

    def wake(self, *, host_changed: bool = False) -> None:
        """Look again soon. `host_changed`: routes or addresses may not be as we set them."""
        if host_changed:
            self._host = None
        self._must_look = True
        self._wake.set()

    def map_changed(self) -> None:
        """The engine has another map: do what it asks for, at once if it needs no look."""
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
        if self._backend is None:
            self._backend = await self._open_backend(name)
        backend = self._backend
        device = await backend.read(name)
        if device is None:
            await self._create(backend)
        else:
            await self._check_ours(device)
            log.info("the interface stands already, its tunnels go on interface=%s peers=%d", name, len(device.peers))
            self.engine.observed(device, self._clock())
        self._is_open = True
        log.debug("stage=interface")

    async def expect_forwarding(self) -> None:
        """Before the start: an exit node whose agent starts anew has gone on forwarding, and is offered on."""
        settings = self.engine.settings
        self.forwards = settings.offers_exit_node and await self.system.owns(settings.interface, has_key=True)

    async def _check_ours(self, device: ObservedDevice) -> None:
        if not await is_ours(device, self.engine.settings.private_key, self.system):
            raise not_ours(device.name)

    async def _create(self, backend: Backend) -> None:
        name = self.engine.settings.interface
        if await self.system.exists(name):
            raise not_ours(name)
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
            if not self._is_open:
                await self.open()
            await self._do_what_is_due()
        except (MeshError, OSError) as error:
            if not self.is_up.is_set() and isinstance(error, (Conflict, NotPermitted, Unsupported)):
                raise
            if self._has_failed(str(error)):
                log.warning("the interface cannot be set up now, will try again: %s", error)
            return self._retry_delay()
        except Exception as error:
            if not self.is_up.is_set():
                raise
            # A fault of ours: the tunnels stand, and the next map may well be another.
            if self._has_failed(f"internal error: {error!r}"):
                log.exception("the interface cannot be kept as wanted by a fault of this program, will try again")
            return self._retry_delay()
        now = self._clock()
        self._failures = 0
        if self._contact.succeeded(now):
            log.info("the interface is as it should be again")
        return max(0.0, self.engine.next_look(now) - now.monotonic)

    def _has_failed(self, problem: str) -> bool:
        """Whether that is news."""
        self._failures += 1
        self._must_look = True
        return self._contact.failed(problem, self._clock())

    def _retry_delay(self) -> float:
        return _RETRY.delay(self._failures, random.random())

    async def refresh(self) -> None:
        """Read the device for somebody who asks how it is. A fault is for `run` to say."""
        async with self._one_at_a_time:
            if self._backend is None or self._is_removed:
                return
            with contextlib.suppress(MeshError):
                device = await self._backend.read(self.engine.settings.interface)
                if device is not None:
                    self.engine.observed(device, self._clock(), is_aside=True)

    async def _do_what_is_due(self) -> None:
        now = self._clock()
        if self._must_look or self.engine.next_look(now) <= now.monotonic:
            self._must_look = False
            await self.reconcile()
            return
        try:
            await self._apply_news()
        except MeshError as error:
            log.debug("a change of the map could not be applied, looking at the interface reason=%s", error)
            await self.reconcile()

    async def _apply_news(self) -> None:
        async with self._one_at_a_time:
            change = None if self._is_removed else self.engine.news(self._clock())
            if self._backend is not None and change is not None and not change.is_empty:
                await self._backend.apply(self.engine.settings.interface, change)
                self.engine.news_applied(change)
                log.debug("stage=news peers=%d", len(change.peers))

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
        # Somebody may have taken it away, and made another of that name.
        await self._check_ours(device)
        return device

    async def _apply(self, backend: Backend, device: ObservedDevice, wanted: Wanted) -> None:
        change = plan(wanted.device, device, wanted.resets)
        if not change.is_empty:
            await backend.apply(device.name, change)
            log.debug("stage=applied peers=%d", len(change.peers))
        call = calls(wanted.device, device, wanted.calls)
        if not call.is_empty:
            await backend.apply(device.name, call)
        self.engine.applied(wanted, self._clock())
        await self._probe(backend)
        await self._apply_host(wanted.host)
        self._say_exit_problem(self._exit_fault or wanted.exit_node.problem)
        if not self.is_up.is_set():
            # Those of the map: in the device they come a moment later.
            peers = len(self.engine.map.peers) if self.engine.map else 0
            log.info("the mesh is up interface=%s peers=%d", device.name, peers)
            self.is_up.set()

    async def _probe(self, backend: Backend) -> None:
        """Look for better paths, as far as that is due. Right after a look: WireGuard is pointed back at what was seen
        then."""
        due = self.engine.round(self._clock())
        if due.probes:
            settings = self.engine.settings
            await backend.probe(settings.interface, due.steps(settings.keepalive))
            self.engine.probed(due)
            log.debug("stage=probed peers=%d", len(due.probes))

    async def _apply_host(self, host: WantedHost) -> None:
        now = self._clock().monotonic
        has_exit = host.exit_routing is not None or host.forwarding is not None
        if host == self._host and not (has_exit and now - self._host_checked >= _HOST_CHECK):
            return
        # Before it is done: what changes meanwhile may be missed by it, and asks by `wake` for another time.
        self._host, self._host_checked = host, now
        try:
            fault = await self.system.apply(host)
        except BaseException:
            self._host = None
            raise
        self._exit_fault = str(fault or "")
        forwards = host.forwarding is not None and fault is None
        if forwards != self.forwards:
            self.forwards = forwards
            self._on_forwarding()

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
            settings = self.engine.settings
            is_foreign = await stands_foreign(settings.interface, settings.private_key, self._backend, self.system)
            await self.system.undo(settings.interface)
            if self._backend is not None and not is_foreign:
                await self._backend.remove(settings.interface)

    async def close(self) -> None:
        """Let go of the backend. The interface stays."""
        if self._backend is not None:
            await self._backend.close()

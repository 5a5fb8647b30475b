"""What the agent knows of the host's links: read at the start, and again at each change that the system tells of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import ip_address

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.wanted import ETHERNET_MTU
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.system.interface import LinkEvent, System

log = logging.getLogger(__name__)


class Links:
    """Keeps the engine told of this machine's addresses and of the MTU towards the server. `on_change` is called for
    each change, `on_moved` if the addresses are others."""

    def __init__(
        self,
        system: System,
        engine: Engine,
        dialer: Dialer,
        clock: Clock,
        *,
        on_change: Callable[[], None],
        on_moved: Callable[[], None],
    ) -> None:
        self._system = system
        self._engine = engine
        self._dialer = dialer
        self._clock = clock
        self._on_change = on_change
        self._on_moved = on_moved

    async def watch(self) -> None:
        """Follow what changes, for ever."""
        async for event in self._system.watch(self._engine.settings.interface):
            log.debug("the host's network changed what=%s", event)
            try:
                await self._follow(event)
            except Exception:
                # A fault of ours: the next event may go well, and the tunnels stand.
                log.exception("what changed in the host's network could not be followed what=%s", event)

    async def _follow(self, event: LinkEvent) -> None:
        before = self._engine.local
        await self.look()
        if event is LinkEvent.ROUTES:
            self._engine.rerouted()
        self._on_change()
        if self._engine.local != before:
            self._on_moved()

    async def look(self) -> None:
        """Read them now."""
        try:
            addresses = await self._system.local_addresses()
            mtu = await self._mtu()
        except MeshError as error:
            log.warning("the host's addresses cannot be read: %s", error)
            return
        self._engine.links_changed(addresses, mtu, self._clock())

    async def _mtu(self) -> int:
        try:
            return await self._system.path_mtu(ip_address(self._dialer.server.host))
        except ValueError:
            known = self._dialer.remembered
            return await self._system.path_mtu(known[0]) if known else ETHERNET_MTU

"""Keeps the identity and the last map on disk, without ever making the network wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import Any, Final, NoReturn

import msgspec

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.core.contact import Contact
from wireguard_mesh.core.known_map import KnownMap
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import NetworkMap

_SETTLE: Final = 0.15  # seconds between a change and its writing: the tunnel comes first
_MAP_SETTLE: Final = 2.0  # the same for a map that follows on one which is on disk: that would nearly do
_MAP_REST: Final = 5.0  # seconds between two writings of the map
_RETRY: Final = 30.0  # seconds until a disk that did not let us is tried again
_SHARE: Final = 50  # rests so many times as long as a writing took, however often the map changes
_NEVER: Final = float("inf")

log = logging.getLogger(__name__)


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written; None: nothing new. `is_left`: there shall be no map any more."""

    state: ClientState | None
    map: NetworkMap | None
    server_key: PublicKey | None
    is_left: bool


class Keeper:
    """What is to be on disk. `state` is changed through `change` only; the map is that of `known`, which begins with
    the map of the last run."""

    def __init__(self, folder: StateFolder, state: ClientState, clock: Clock) -> None:
        self.state = state
        self._folder = folder
        self._clock = clock
        self._contact = Contact()
        self._public_key: PublicKey = state.private_key.public_key
        last = folder.load_map(self._public_key, state.server_public_key)
        self.known = KnownMap(self._public_key, last)
        self._written_state: ClientState | None = state
        self._written_map = last.version if last else None
        self._changed = asyncio.Event()
        self._map_at = _NEVER
        self._map_rests_until = 0.0
        self._has_left = False
        self._disk = threading.Lock()

    @property
    def public_key(self) -> PublicKey:
        """This machine's public key."""
        return self._public_key

    @property
    def problem(self) -> str:
        """Why the disk is behind, or ""."""
        return self._contact.problem

    def change(self, **fields: Any) -> None:
        """Change fields of the identity, soon on disk too."""
        state = msgspec.structs.replace(self.state, **fields)
        if state != self.state:
            self.state = state
            self._changed.set()

    def map_changed(self) -> None:
        """The map is to be on disk, too, before long: an older one serves to go on from."""
        if self._map_at == _NEVER:
            settle = _MAP_SETTLE if self._written_map else 0.0
            self._map_at = max(self._clock().monotonic + settle, self._map_rests_until)
            self._changed.set()

    def forget(self) -> None:
        """This machine has left the mesh: nothing of its place is kept."""
        self.state = msgspec.structs.replace(self.state, peer_id="", assigned_ip=None)
        self._has_left = True
        self.write()

    async def run(self) -> NoReturn:
        """Write what changed, now and then, in a thread: a slow disk makes nobody wait."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait()):
                    await self._changed.wait()
            await asyncio.sleep(_SETTLE)
            self._changed.clear()
            started = self._clock().monotonic
            wanted = self._wanted(with_map=self._map_at <= started)
            if wanted.map is not None:
                self._map_rests_until = started + _MAP_REST
            self._note(wanted, await asyncio.to_thread(self._save, wanted))
            took = self._clock().monotonic - started
            self._map_rests_until = max(self._map_rests_until, started + _SHARE * took)
            await asyncio.sleep(_SETTLE)

    def _wait(self) -> float | None:
        """Seconds until there is something to write though nothing more changes."""
        now = self._clock().monotonic
        due = min(self._map_at, now + _RETRY if self.problem else _NEVER)
        return None if due == _NEVER else max(0.0, due - now)

    def write(self) -> None:
        """Write what changed, now. A disk that does not let us is said once, and does not stop anything."""
        wanted = self._wanted(with_map=True)
        self._note(wanted, self._save(wanted))

    def _wanted(self, *, with_map: bool) -> _Wanted:
        server_key, network_map = self.state.server_public_key, self.known.map
        is_new = network_map is not None and network_map.version != self._written_map
        if with_map:
            self._map_at = _NEVER
        return _Wanted(
            state=self.state if self.state != self._written_state else None,
            map=network_map if with_map and is_new and server_key is not None else None,
            server_key=server_key,
            is_left=self._has_left,
        )

    def _save(self, wanted: _Wanted) -> Exception | None:
        """In any thread: one after the other."""
        with self._disk:
            try:
                if wanted.state is not None:
                    self._folder.save(wanted.state)
                if wanted.is_left:
                    self._folder.forget_map()
                elif wanted.map is not None and wanted.server_key is not None:
                    self._folder.save_map(wanted.map, self._public_key, wanted.server_key)
            except Exception as error:  # a fault of ours ends an agent no more than a disk does
                return error
        return None

    def _note(self, wanted: _Wanted, error: Exception | None) -> None:
        if error is not None:
            if wanted.map is not None:
                self._map_at = self._clock().monotonic + _RETRY
            is_ours = not isinstance(error, MeshError)
            problem = f"internal error: {error!r}" if is_ours else str(error)
            if self._contact.failed(problem, self._clock()):
                log.warning("%s; going on without", problem, exc_info=error if is_ours else None)
            return
        self._written_state = wanted.state or self._written_state
        self._written_map = wanted.map.version if wanted.map else self._written_map
        if self._contact.succeeded(self._clock()):
            log.info("the state can be written again")

"""Who is online: what this server hears, what the others keep in the database, and who looks for the silent.

A heartbeat costs no transaction: when peers were heard is in memory, and kept now and then. Of many servers on one
database, one looks for silent peers, and takes none offline that another server has heard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from wireguard_mesh.core.commands import Heartbeat, MarkOffline
from wireguard_mesh.core.liveness import Liveness
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.errors import MeshError, NotFound, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.writer import MAX_BATCH, Writer
from wireguard_mesh.store.store import Store

log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 60.0  # how old the database's last_seen may be
# Of a timeout, where other servers need to know: two heartbeats may be lost, and one attempt to keep what was heard.
_FLUSH_SHARE: Final = 0.25

WentOffline = Callable[[Record, float], None]


class Presence:
    """The liveness of peers, on the map and in the database. `went_offline` is told of each, and when that was asked
    for (monotonic seconds)."""

    def __init__(
        self, writer: Writer, liveness: Liveness, store: Store, clock: Clock, went_offline: WentOffline
    ) -> None:
        self._writer = writer
        self._liveness = liveness
        self._store = store
        self._clock = clock
        self._went_offline = went_offline
        self._term = store.term
        self._flushed = clock.monotonic()
        self._flush_fails = False
        self._flush_seconds = min(FLUSH_SECONDS, liveness.timeout * _FLUSH_SHARE) if store.shared else FLUSH_SECONDS
        self._followed = writer.snapshot
        self._disputed: set[PublicKey] = set()  # offline by another server, but heard here
        writer.on_publish.append(self._follow)

    @property
    def timeout(self) -> float:
        """After how many seconds of silence a peer is offline."""
        return self._liveness.timeout

    @property
    def failing(self) -> bool:
        """When peers were heard could not be kept the last time."""
        return self._flush_fails

    def heard(self, key: PublicKey) -> None:
        """A heartbeat or a registration came."""
        self._liveness.heard(key, self._clock.monotonic(), self._clock.wall())

    def forget(self, key: PublicKey) -> None:
        """The peer left."""
        self._liveness.forget(key)

    def last_heard(self, key: PublicKey) -> float:
        """When a peer was last heard, in Unix seconds; 0.0 for never."""
        return self._liveness.last_heard(key)

    async def sweep(self, asked: float) -> None:
        """Mark those offline that were silent for too long at `asked` (monotonic), and now and then keep the rest."""
        await together(self._take_offline(key, asked) for key in await self._silent(asked))
        disputed, self._disputed = self._disputed, set()
        await together(self._bring_back(key) for key in disputed)
        if self._clock.monotonic() - self._flushed >= self._flush_seconds:
            await self.flush()

    async def flush(self) -> None:
        """Keep when peers were heard. A failure is said once: the next flush tries all of it again."""
        self._flushed = self._clock.monotonic()
        if self._writer.failing and self._store.shared:
            return  # said already; and what is heard elsewhere is not known either
        seen = self._liveness.unsaved()
        try:
            await self._store.save_last_seen(seen, self._clock.wall())
            if self._store.shared:
                await self._hear_others()
        except Unavailable as error:
            if not self._flush_fails:
                log.warning("%s; when peers were last seen is not kept until then", error)
            self._flush_fails = True
            return
        self._flush_fails = False
        self._liveness.saved(key for key, _ in seen)

    async def _silent(self, asked: float) -> list[PublicKey]:
        before, self._term = self._term, self._store.term
        if not self._term:
            return []  # another server looks
        if self._term != before:
            # Others may have been unable to keep what they heard, as long as nobody looked.
            self._liveness.start_anew(asked)
        late = self._liveness.overdue(asked)
        if late and self._store.shared:
            try:
                await self._hear_others()
            except Unavailable as error:
                log.debug("nobody is marked offline, the next sweep tries again: %s", error)
                return []
            late = self._liveness.overdue(asked)
        return late

    async def _hear_others(self) -> None:
        wall = self._clock.wall()
        silences = await self._store.silences(wall)
        now = self._clock.monotonic()
        for key, silence in silences.items():
            self._liveness.heard_elsewhere(key, now - silence, wall - silence)

    def _follow(self, snapshot: Snapshot) -> None:
        before, self._followed = self._followed, snapshot
        self._disputed.update(self._liveness.follow(before, snapshot, self._clock.monotonic(), self._clock.wall()))

    async def _take_offline(self, key: PublicKey, asked: float) -> None:
        try:
            record = await self._writer.submit(MarkOffline(public_key=key))
            if self._liveness.went_offline(key, asked):
                self._went_offline(record, asked)
            else:
                # It was heard while the batch was written.
                await self._writer.submit(Heartbeat(public_key=key, signed=record.signed))
        except NotFound:
            self._liveness.forget(key)
        except MeshError as error:
            log.debug("not marked offline, the next sweep tries again: %s", error)

    async def _bring_back(self, key: PublicKey) -> None:
        record = self._writer.snapshot.records.get(key)
        if record is None or record.peer.online or not self._liveness.is_heard_here(key, self._clock.monotonic()):
            return
        try:
            await self._writer.submit(Heartbeat(public_key=key, signed=record.signed))
        except MeshError as error:
            self._disputed.add(key)
            log.debug("not marked online, the next sweep tries again: %s", error)


async def together(writes: Iterable[Coroutine[Any, Any, None]]) -> None:
    """So that they are one batch and one revision, but never more than the writer's queue holds."""
    waiting = list(writes)
    for start in range(0, len(waiting), MAX_BATCH):
        await asyncio.gather(*waiting[start : start + MAX_BATCH])

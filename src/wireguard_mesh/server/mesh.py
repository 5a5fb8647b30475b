"""What the server does, whoever asks and however: join, live, look, leave. HTTP is one way to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Heartbeat, Leave, Observe, Register
from wireguard_mesh.core.damping import Damping
from wireguard_mesh.core.liveness import Liveness
from wireguard_mesh.core.ratelimit import RateLimiter, source_of
from wireguard_mesh.core.registry import PEER_ID_RANDOM_LENGTH
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.errors import MeshError, NotFound
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.model.relays import RelayDistance
from wireguard_mesh.protocol.api import MapUpdate
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.event_log import EventLog
from wireguard_mesh.server.presence import Presence, together
from wireguard_mesh.server.writer import Writer
from wireguard_mesh.store.store import Store

log = logging.getLogger(__name__)


class Mesh:
    """The server's verbs, on the writer, the liveness of peers and the limit of registrations."""

    def __init__(
        self, writer: Writer, liveness: Liveness, registrations: RateLimiter, store: Store, clock: Clock
    ) -> None:
        self._writer = writer
        self._registrations = registrations
        self._clock = clock
        self._shared = store.shared
        self._presence = Presence(writer, liveness, store, clock, self._note_offline)
        self._damping = Damping()
        self._events = EventLog()
        self._online: tuple[Snapshot | None, int] = (None, 0)

    @property
    def snapshot(self) -> Snapshot:
        """The mesh as it is."""
        return self._writer.snapshot

    def on_publish(self, tell: Callable[[Snapshot], None]) -> None:
        """Have `tell` called with each new snapshot, when it is in place; it must return at once."""
        self._writer.on_publish.append(tell)

    def admit(self, public_key: PublicKey, source: Address) -> None:
        """To be called before `register`, and before anything is remembered of a stranger.

        Raises `RateLimited` for a new key of an address that registered too many.
        """
        if public_key not in self.snapshot.records:
            self._registrations.take(source_of(source), self._clock.monotonic())

    async def register(
        self,
        public_key: PublicKey,
        *,
        signed: bool,
        hostname: Hostname,
        os_name: str,
        exit_node: bool,
        endpoints: tuple[Endpoint, ...] | None,
        mapped: tuple[Endpoint, ...] | None = None,
        distances: tuple[RelayDistance, ...] | None = None,
        version: str | None = None,
        allocate: bool = True,
    ) -> Record:
        """Join, or say anew what a machine is.

        Raises `NotPermitted`, `Exhausted`, `Unavailable`, `RateLimited`, `NotFound`.
        """
        command = Register(
            public_key=public_key,
            signed=signed,
            hostname=hostname,
            os=os_name,
            exit_node=exit_node,
            random=os.urandom(PEER_ID_RANDOM_LENGTH),
            endpoints=endpoints,
            mapped=mapped,
            distances=distances,
            version=version,
            allocate=allocate,
        )
        known = self.snapshot.records.get(public_key)
        self._damping.register(known, command, self._clock.monotonic())
        record = await self._writer.submit(command)
        self._presence.heard(public_key)
        if known is None:
            self._events.note("peer joined", record, self._clock.monotonic())
        return record

    async def heartbeat(self, command: Heartbeat) -> None:
        """A peer lives. Only one that changes something waits for the disk; too many changes wait for a sweep.

        Raises `NotFound` (register again), `NotPermitted`, `Unavailable`.
        """
        record = self.snapshot.record(command.public_key)
        change = self._damping.heartbeat(record, command, self._clock.monotonic())
        # It lives, whether or not what it says can be written.
        self._presence.heard(command.public_key)
        if change is not None:
            await self._write_heartbeat(record, change)

    async def observe(self, command: Observe) -> None:
        """What relays see of a peer; too many changes, and what cannot be written now, wait for a sweep.

        Raises `NotFound`.
        """
        change = self._damping.observe(self.snapshot.record(command.public_key), command, self._clock.monotonic())
        if change is not None:
            await self._write_held_back(change)

    async def _write_held_back(self, change: Heartbeat | Observe) -> None:
        try:
            if isinstance(change, Observe):
                await self._writer.submit(change)
            else:
                await self._write_heartbeat(self.snapshot.record(change.public_key), change)
        except NotFound:
            pass  # it left meanwhile
        except MeshError as error:
            self._damping.hold(change)
            log.debug("not written, the next sweep tries again: %s", error)

    async def leave(self, public_key: PublicKey, *, signed: bool) -> None:
        """A peer goes for good. Raises `NotFound`, `NotPermitted`, `Unavailable`."""
        record = await self._writer.submit(Leave(public_key=public_key, signed=signed))
        self._presence.forget(public_key)
        self._damping.forget(public_key)
        self._events.note("peer left", record, self._clock.monotonic())

    async def _write_heartbeat(self, record: Record, change: Heartbeat) -> None:
        after = await self._writer.submit(change)
        if not record.peer.online:
            self._events.note("peer is back", after, self._clock.monotonic())

    async def reach(self, version: MapVersion | None) -> None:
        """To be called before a client is answered who has this version, perhaps from another server."""
        if version is not None:
            await self._writer.reach(version)

    async def meet(self, public_key: PublicKey) -> None:
        """To be called before a peer is told that it is not registered: another server may just have taken it in."""
        await self._writer.meet(public_key)

    def map(self, public_key: PublicKey, since: MapVersion | None) -> MapUpdate:
        """What changed for a peer. Raises `NotFound`."""
        return changes_since(self.snapshot, public_key, since)

    def last_heard(self, public_key: PublicKey) -> float:
        """When a peer was last heard, in Unix seconds; 0.0 for never."""
        return self._presence.last_heard(public_key)

    @property
    def heartbeat_timeout(self) -> float:
        """After how many seconds of silence a peer is offline."""
        return self._presence.timeout

    @property
    def online(self) -> int:
        """How many peers are online; counted once a snapshot, since anybody may ask."""
        if self._online[0] is not self.snapshot:
            self._online = (self.snapshot, sum(record.peer.online for record in self.snapshot.records.values()))
        return self._online[1]

    @property
    def can_write(self) -> bool:
        """Whether changes are made durable, as far as is known."""
        return not (self._writer.failing or self._presence.failing)

    async def sweep(self) -> None:
        """Mark those offline that were silent for too long, and now and then keep when the others were heard."""
        asked = self._clock.monotonic()
        await self._presence.sweep(asked)
        await together(self._write_held_back(change) for change in self._damping.due(self.snapshot.records, asked))
        self._writer.probe()
        if self._shared:
            self._writer.look_unasked()
        self._events.look(asked)

    async def flush(self) -> None:
        """Keep when peers were heard."""
        await self._presence.flush()

    def _note_offline(self, record: Record, asked: float) -> None:
        self._damping.is_silent(record.peer.public_key)
        self._events.note("peer is offline", record, asked)

"""The relays of the mesh: who may be one, which of them live, and what they see of peers.

The server's own relay and those that register are dealt with alike. A relay that was not heard for a while leaves the
map; where several servers share the mesh, one of them looks, and counts what the others have heard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from wireguard_mesh.core.commands import DropRelay, Observe, PutRelay
from wireguard_mesh.core.liveness import Liveness
from wireguard_mesh.core.nat_view import NatView
from wireguard_mesh.core.ratelimit import RateLimiter, source_of
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import InvalidValue, MeshError, NotFound, NotPermitted, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import OWN_RELAY, Relay, RelayId, parse_relay_id
from wireguard_mesh.protocol.api import RelayCounters
from wireguard_mesh.protocol.relay_api import (
    SILENCE_SECONDS,
    Observation,
    RelayHeartbeat,
    RelayRegistration,
)
from wireguard_mesh.protocol.relay_keys import PROOF_SECONDS, RelayKey
from wireguard_mesh.relay.control import Observed
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.own_relay import OwnRelay
from wireguard_mesh.server.presence import together
from wireguard_mesh.server.writer import Writer
from wireguard_mesh.store.store import Store

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 5.0
GATHER_SECONDS: Final = 0.05  # in which both vantage points see a newcomer, so that its map changes once
TOLD_AT_ONCE: Final = 256  # peers: what a relay says of all of them at once must not hold up everything else
PROOF_BURST: Final = 20  # registrations of one address at once, and a second after that: relays come back together
PROOF_RATE: Final = 0.5
_RESERVED: Final = f"{OWN_RELAY}-"

RelayKeys = Callable[[], RelayKey | None]


class Relays:
    """Relays on the map of `mesh`. `relay_key` gives the key that relays prove, None if none may register."""

    def __init__(
        self, mesh: Mesh, writer: Writer, store: Store, clock: Clock, server: PublicKey, relay_key: RelayKeys
    ) -> None:
        self._mesh, self._writer, self._store, self._clock = mesh, writer, store, clock
        self._server = server
        self._relay_key = relay_key
        self._proofs = RateLimiter(PROOF_BURST, PROOF_RATE, what="too many relays register from this address")
        self._liveness = Liveness(SILENCE_SECONDS, clock.monotonic(), SWEEP_SECONDS)
        self._term = store.term
        self._view = NatView()
        self._followed = writer.snapshot
        self._news: dict[PublicKey, None] = {}  # peers of which something is seen, or that say something else
        self._gathering: asyncio.TimerHandle | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._counters: dict[RelayId, RelayCounters] = {}
        self._said: set[str] = set()
        self.own: OwnRelay | None = None
        self._watch(self._followed, self._followed)
        writer.on_publish.append(self._follow)

    def admit(self, key: PublicKey, message: RelayRegistration, source: Address) -> Relay:
        """The relay that a signed registration may put into the map. To be called before anything is remembered of it.

        Raises `RateLimited`, `NotPermitted` (the relay key), `InvalidValue`.
        """
        self._proofs.take(source_of(source), self._clock.monotonic())
        relay_id = parse_relay_id(message.id)
        relay_key = self._relay_key()
        if relay_key is None:
            raise NotPermitted(
                "this mesh takes no relays", "make a relay key where the server runs: vpn-server relay-key"
            )
        if not relay_key.proves(message.proof, relay_id, key, self._server, message.time):
            raise NotPermitted("the relay key is not this mesh's", "'vpn-server relay-key' prints it on the server")
        if abs(message.time - self._clock.wall()) > PROOF_SECONDS:
            raise NotPermitted("the registration was made at another time", "set the clock, or ask the server's")
        if relay_id == OWN_RELAY or relay_id.startswith(_RESERVED):
            raise InvalidValue(f"{relay_id} is a name of the server's own relay", "choose another one, as fra-1")
        if message.ipv4 is None and message.ipv6 is None:
            raise InvalidValue("a relay needs an address that clients reach", "say it with -address")
        points = message.vantage_points
        if points[0].public_key != key:
            raise NotPermitted("the first vantage point has another key than the one that signed")
        relay = Relay(id=relay_id, vantage_points=points, ipv4=message.ipv4, ipv6=message.ipv6)
        relay.check()
        return relay

    async def register(self, relay: Relay) -> Relay:
        """Put a relay into the map. Raises `Conflict`, `Exhausted`, `Unavailable`."""
        is_new = relay not in self._mesh.snapshot.relays
        await self._writer.submit(PutRelay(relay=relay))
        self._hear(relay)
        if is_new:
            log.info("a relay joined relay=%s", relay.id)
        return relay

    def heartbeat(self, key: PublicKey, message: RelayHeartbeat) -> None:
        """A relay lives, and has seen something. Raises `NotFound`: register again."""
        relay = self._mesh.snapshot.relay_of(key)
        if relay is None:
            raise NotFound("this relay is not registered here", "register again")
        self._hear(relay)
        self._counters[relay.id] = message.counters
        for observation in message.observations:
            self.observed(relay.id, observation)

    async def leave(self, key: PublicKey) -> None:
        """A relay goes. Raises `NotFound`, `Unavailable`."""
        relay = self._mesh.snapshot.relay_of(key)
        if relay is None or relay.id == self._own_id:
            raise NotFound("this relay is not registered here")
        await self._writer.submit(DropRelay(id=relay.id))
        log.info("a relay left relay=%s", relay.id)

    def observed(self, relay: RelayId, observation: Observation) -> None:
        """A relay sees a peer. It is in the map a moment later, if that changes anything."""
        if observation.public_key in self._mesh.snapshot.records and self._view.observe(relay, observation):
            self._gather((observation.public_key,))

    def own_observed(self, seen: Observed) -> None:
        """Our own relay sees a peer."""
        if self.own is not None:
            observation = Observation(
                public_key=seen.key, vantage=seen.vantage, endpoint=seen.endpoint, over_web=seen.over_web
            )
            self.observed(self.own.id, observation)

    def counters(self, relay: RelayId) -> RelayCounters | None:
        """What a relay does, as far as this server was told."""
        return self.own.counters if self.own is not None and relay == self.own.id else self._counters.get(relay)

    async def sweep(self) -> None:
        """Have our own relay in the map, or not; drop those that are silent. To be called each `SWEEP_SECONDS`."""
        try:
            await self._put_own()
            if self._store.shared:
                await self._share()
            await together(self._drop(relay) for relay in self._silent())
        except MeshError as error:
            self._say(f"the relays in the map could not be brought up to date: {error}")
        else:
            self._said.clear()

    @property
    def _own_id(self) -> RelayId | None:
        return None if self.own is None else self.own.id

    async def _put_own(self) -> None:
        standing = {relay.id: relay for relay in self._mesh.snapshot.relays}
        own = self.own
        if own is not None and own.is_able:
            if standing.get(own.id) != own.relay:
                await self._writer.submit(PutRelay(relay=own.relay, by_force=True))
            self._hear(own.relay)
        elif own is not None and own.id in standing:
            await self._drop(own.relay)
            self._say("the server's own relay cannot be started, and is offered to nobody until it is")
        elif own is None and not self._store.shared and OWN_RELAY in standing:
            await self._drop(standing[OWN_RELAY])  # of a start before this one

    async def _share(self) -> None:
        heard = dict(self._liveness.unsaved())
        names = [relay.id for relay in self._mesh.snapshot.relays if relay.public_key in heard]
        if names:
            await self._store.save_relays_seen(names)
        self._liveness.saved(heard)
        silences = await self._store.silent_relays()
        now, wall = self._clock.monotonic(), self._clock.wall()
        for relay in self._mesh.snapshot.relays:
            silence = silences.get(relay.id)
            if silence is not None:
                self._liveness.heard_elsewhere(relay.public_key, now - silence, wall - silence)

    def _silent(self) -> Iterable[Relay]:
        now = self._clock.monotonic()
        before, self._term = self._term, self._store.term
        if not self._term:
            return []  # another server looks
        if self._term != before:
            self._liveness.start_anew(now)
        overdue = set(self._liveness.overdue(now))
        return [relay for relay in self._mesh.snapshot.relays if relay.public_key in overdue]

    async def _drop(self, relay: Relay) -> None:
        try:
            await self._writer.submit(DropRelay(id=relay.id))
        except NotFound:
            return
        log.warning("a relay is silent and was taken from the map relay=%s", relay.id)

    def _hear(self, relay: Relay) -> None:
        self._liveness.heard(relay.public_key, self._clock.monotonic(), self._clock.wall())

    def _follow(self, snapshot: Snapshot) -> None:
        before, self._followed = self._followed, snapshot
        if self.own is not None:
            self.own.follow(snapshot)
        if snapshot.relays is not before.relays:
            self._watch(before, snapshot)
        if snapshot.epoch != before.epoch:
            return
        for peer_id in snapshot.removed_since(before.revision):
            if peer_id in before.keys:
                self._view.forget(before.keys[peer_id])
        changed = (record.peer for record in snapshot.changed_since(before.revision))
        self._gather(peer.public_key for peer in changed if peer.public_key in self._view)

    def _watch(self, before: Snapshot, snapshot: Snapshot) -> None:
        keys = {relay.public_key for relay in snapshot.relays}
        for key in {relay.public_key for relay in before.relays} - keys:
            self._liveness.forget(key)
        names = {relay.id for relay in snapshot.relays}
        self._view.keep_relays(names)
        self._counters = {name: counters for name, counters in self._counters.items() if name in names}
        self._liveness.watch(keys, self._clock.monotonic(), self._clock.wall())

    def _gather(self, keys: Iterable[PublicKey]) -> None:
        self._news.update(dict.fromkeys(keys))
        if self._news and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._tell)

    def _tell(self) -> None:
        self._gathering = None
        news = list(islice(self._news, TOLD_AT_ONCE))
        for key in news:
            del self._news[key]
        self._gather(())
        telling = asyncio.get_running_loop().create_task(together(map(self._observe, news)))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _observe(self, key: PublicKey) -> None:
        record = self._mesh.snapshot.records.get(key)
        if record is None:
            return
        reflexive, nat = self._view.of(record.peer)
        try:
            await self._mesh.observe(Observe(public_key=key, reflexive=reflexive, nat=nat))
        except (NotFound, Unavailable) as error:
            log.debug("what relays see of a peer is not written: %s", error)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning(text)

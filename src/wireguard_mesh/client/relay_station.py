"""A relay that stands alone: its process, its place in the map, whom it serves. No privilege is needed."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final

import msgspec

from wireguard_mesh import __version__
from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.proxy import from_environment
from wireguard_mesh.client.relay_addresses import Addresses
from wireguard_mesh.client.relay_control import RelayControl
from wireguard_mesh.client.relay_membership import RelayMembership
from wireguard_mesh.client.relay_state import RelayFolder, RelayState
from wireguard_mesh.core.contact import Contact
from wireguard_mesh.core.roster import KnownRoster, Roster
from wireguard_mesh.core.sightings import Sightings
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.relays import Relay, VantagePoint
from wireguard_mesh.protocol import relay_api
from wireguard_mesh.protocol.relay_keys import vantage_keys
from wireguard_mesh.relay.control import Observed, Setup, Stats
from wireguard_mesh.relay.sockets import Sockets, bind_vantages, close
from wireguard_mesh.relay.supervisor import RelaySupervisor

ROSTER_REST: Final = 0.2  # seconds at least between two writings of the roster
ROSTER_SHARE: Final = 20  # times as long as a writing took: of a large mesh's 10,000 keys it may take 5 % of a core

log = logging.getLogger(__name__)


class StationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a relay is started with. `host` and `port` as in `-listen`; `addresses`: where others reach it, and where it
    looks for that if it was not said."""

    folder: RelayFolder
    state: RelayState
    host: str
    port: int
    addresses: Addresses
    log_level: str = "INFO"


class RelayStation:
    """One relay. `run` until a signal, or `stop`."""

    def __init__(self, options: StationOptions, clock: Clock) -> None:
        self._options = options
        self._state = options.state
        self._clock = clock
        self._end = asyncio.Event()
        self._stats = Stats()
        self._sightings = Sightings()
        self._known = KnownRoster(options.folder.load_roster(options.state))
        self._kept: Roster | None = self._known.map
        self._disk = Contact()
        self._roster_changed = asyncio.Event()
        self._keys = vantage_keys(self._state.private_key, self._state.id)
        self._http = HttpClient(
            Dialer(self._state.server, remembered=self._state.server_ips, proxy=from_environment(self._state.server))
        )
        self._control = RelayControl(
            self._http, self._state.private_key, self._state.server_public_key, lambda: clock().wall
        )
        self._membership = RelayMembership(
            self._control,
            self._known,
            self._sightings,
            clock,
            registration=self._registration,
            counters=lambda: self._stats.counters,
            on_member=self._belong,
            on_map=self._serve,
            is_member=self._state.is_member,
        )
        self._supervisor: RelaySupervisor | None = None
        self._said = ""

    def stop(self) -> None:
        """End in order: leave the map first, so that nobody calls a relay that is gone."""
        self._end.set()

    async def run(self) -> None:
        """Until `stop`. Raises the `MeshError` that keeps it from being a relay at all."""
        sockets = bind_vantages(self._options.host, self._options.port)
        try:
            await self._work(sockets)
        finally:
            self._http.drop_connections()
            close(sockets)

    async def _work(self, sockets: Sockets) -> None:
        setup = Setup(
            relay=self._state.id,
            vantages=self._keys,
            folder=str(self._options.folder.journal),
            log_level=self._options.log_level,
        )
        supervisor = self._supervisor = RelaySupervisor(sockets, setup, self._observed, self._count)
        self._serve()
        relaying = asyncio.create_task(supervisor.run(), name="relay process")
        tasks = [
            relaying,
            asyncio.create_task(self._membership.run(), name="membership"),
            asyncio.create_task(self._keep_roster(), name="roster"),
            asyncio.create_task(self._end.wait(), name="end"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)
            await self._membership.leave()
            supervisor.stop()
            await asyncio.gather(relaying, return_exceptions=True)
            self._save_roster()

    # What the relay process says

    def _observed(self, seen: Observed) -> None:
        self._sightings.observe(
            relay_api.Observation(
                public_key=seen.key, vantage=seen.vantage, endpoint=seen.endpoint, over_web=seen.over_web
            )
        )
        if self._sightings.has_news:
            self._membership.hurry()

    def _count(self, stats: Stats) -> None:
        self._stats = stats
        log.debug(
            "stage=relay sessions=%d routes=%d forwarded=%d dropped=%s",
            stats.sessions,
            stats.routes,
            stats.forwarded_packets,
            stats.dropped,
        )

    # What the server says, and is told

    def _registration(self, time: int) -> relay_api.RelayRegistration:
        server = self._control.server_key
        assert server is not None, "the server was asked who it is"
        state, public_key = self._state, self._state.private_key.public_key
        addresses = self._options.addresses.find(self._http.dialer.remembered)
        return relay_api.RelayRegistration(
            id=state.id,
            vantage_points=tuple(
                VantagePoint(key.public_key, self._options.port + number) for number, key in enumerate(self._keys)
            ),
            time=time,
            proof=state.relay_key.proof(state.id, public_key, server, time),
            ipv4=addresses.ipv4,
            ipv6=addresses.ipv6,
            version=__version__,
        )

    def _belong(self, relay: Relay) -> None:
        self._state = msgspec.structs.replace(
            self._state,
            is_member=True,
            server_public_key=self._control.server_key,
            server_ips=self._http.dialer.remembered,
        )
        if self._state != self._options.state:
            self._write(lambda: self._options.folder.save(self._state))
        where = ", ".join(map(str, relay.endpoints(0)))
        if where != self._said:
            self._said = where
            log.info("relaying as %s at %s, and the port after it", relay.id, where)
            if relay.ipv4 is not None and relay.ipv4.is_private and not self._options.addresses.are_given:
                log.warning(
                    "%s is a private address: others reach it within its network only; see -address", relay.ipv4
                )

    def _serve(self) -> None:
        roster = self._known.map
        if roster is None or self._supervisor is None:
            return
        keys = set(roster.peers.values())
        self._sightings.registered(keys)
        self._supervisor.roster(keys, whole=True)
        self._roster_changed.set()

    # Disk

    async def _keep_roster(self) -> None:
        """Write whom this relay serves as soon as it is another: with that it can start though no server answers."""
        while True:
            await self._roster_changed.wait()
            self._roster_changed.clear()
            began = self._clock().monotonic
            await asyncio.to_thread(self._save_roster)
            await asyncio.sleep(max(ROSTER_REST, ROSTER_SHARE * (self._clock().monotonic - began)))

    def _save_roster(self) -> None:
        roster = self._known.map
        if roster is not None and roster != self._kept and self._state.server_public_key is not None:
            self._write(lambda: self._options.folder.save_roster(roster, self._state))
            self._kept = roster

    def _write(self, write: Callable[[], None]) -> None:
        """A disk that does not let us is said once, and ends no relay."""
        try:
            write()
        except MeshError as error:
            if self._disk.failed(str(error), self._clock()):
                log.warning("%s; going on without", error)
        else:
            self._disk.succeeded(self._clock())


def run(options: StationOptions, clock: Clock) -> None:
    """Run a relay until SIGTERM or Ctrl-C. Raises what keeps it from being one."""
    asyncio.run(_run(options, clock))


async def _run(options: StationOptions, clock: Clock) -> None:
    station = RelayStation(options, clock)
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("%s: leaving the map", name)
        station.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number.name)
    await station.run()

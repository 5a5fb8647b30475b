"""Which relays work from here, how far they are, which one a pair takes, and whether a carrier is needed.

Every vantage point of every relay is one more peer of the WireGuard device (`core.vantages`). The first vantage point
of a relay forwards. A pair takes the relay with the least sum of what both ends say of their distance to it: they find
that in the same map, so both take the same one without a word. Whether UDP gets through is judged by `core.carriage`,
what is to be pinged by `core.relay_pings`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from wireguard_mesh.core import relay_pings
from wireguard_mesh.core.carriage import Carriage
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.relay_pings import Ping
from wireguard_mesh.core.relay_screening import outside, usable_relays
from wireguard_mesh.core.stations import Station
from wireguard_mesh.core.vantages import Vantage
from wireguard_mesh.model.devices import ObservedDevice, WantedPeer
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import Relay, RelayDistance, RelayId

KEEPALIVE: Final = 25  # seconds; WireGuard's quick start: short enough for nearly every NAT
_MOST_FORMER: Final = 64  # places of relays that are remembered
_FOREVER: Final = float("inf")


class VantageReport(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one vantage point, for people. `answers`: WireGuard's session with it stands, `is_carried`: by
    TCP; `seconds`: the last ping's round trip; `mapped`: from where that ping came, as seen there."""

    relay: RelayId
    vantage: int
    public_key: PublicKey
    endpoint: Endpoint | None
    answers: bool
    is_carried: bool
    seconds: float | None
    mapped: Endpoint | None


class RelayChoice:
    """All relays of one mesh, as seen from this machine."""

    def __init__(self) -> None:
        self._stations: dict[RelayId, Station] = {}
        self._carriage = Carriage(self._stations)
        self._local: frozenset[Address] = frozenset()
        self._needed: frozenset[RelayId] = frozenset()
        self._former: dict[Endpoint, RelayId] = {}  # where relays were that left or moved: pairs may still be there

    # Events

    def follow(
        self,
        relays: Sequence[Relay],
        server: Sequence[Address],
        local: Sequence[LocalAddress],
        mesh: Collection[Prefix] = (),
    ) -> None:
        """The map has these relays; `server`: addresses at which the coordination server is reached, the last one
        first; `local`: what this machine has; `mesh`: the ranges of the tunnel, where no relay is. To be called when
        one of them changed; again changes nothing."""
        relays, server = usable_relays(relays, mesh, local), outside(server, mesh, local)
        families = {link.address.version for link in local}
        before, places = dict(self._stations), self._places()
        self._remember()
        self._stations.clear()
        for relay in relays:
            known = before.get(relay.id)
            if known is not None and known.relay.vantage_points == relay.vantage_points:
                known.follow(relay, server, families)
                self._stations[relay.id] = known
            else:
                self._stations[relay.id] = Station(relay, server, families)
        if self._places() != places:
            self._carriage.stations_changed()
        addresses = frozenset(link.address for link in local)
        has_moved = bool(self._local) and addresses != self._local
        self._local = addresses
        if has_moved:
            for station in self._stations.values():
                station.moved()
            self._carriage.moved()

    def need(self, relays: Collection[RelayId]) -> None:
        """These relays carry pairs that have no other path now: whether they live is watched closely."""
        self._needed = frozenset(relays)

    def observed(self, device: ObservedDevice, now: Instant) -> None:
        """The device was read."""
        for _, _, vantage in self._vantages():
            vantage.observe(device.peers.get(vantage.public_key), now)
        self._carriage.judge(now)

    def ponged(self, relay: RelayId, vantage: int, seconds: float, mapped: Endpoint, now: Instant) -> None:
        """A ping by UDP was answered after `seconds`, and had come from `mapped`."""
        asked = self._find(relay, vantage)
        if asked is None:
            return
        asked.ponged(seconds, mapped, now)
        if vantage == 0 and not self._carriage.is_carried(asked):
            self._stations[relay].distance.add(seconds)
        self._carriage.ponged(asked, now)
        self._carriage.judge(now)

    def missed(self, relay: RelayId, vantage: int, now: Instant) -> None:
        """A ping by UDP was not answered in time."""
        asked = self._find(relay, vantage)
        if asked is not None and not self._carriage.is_carried(asked):
            asked.missed(now)
            self._carriage.judge(now)

    def carried(
        self, relay: RelayId | None, local: Endpoint | None, now: Instant, *, seconds: float | None = None
    ) -> None:
        """What is sent to `local` is carried to that relay from now on, with a round trip of `seconds`; `None`: nothing
        is any more. Say so again whenever the connection is another: the relay must learn who comes by it."""
        if relay is not None and local is not None and relay in self._stations:
            self._carriage.stands(self._stations[relay], local, now, seconds)
        else:
            self._carriage.ended()
        self._carriage.judge(now)

    # For the device

    def rendezvous_peers(self, now: Instant) -> dict[PublicKey, WantedPeer]:
        """The vantage points as peers of the device, at this moment."""
        del now  # what it depends on was decided as it happened
        return {
            vantage.public_key: WantedPeer(
                public_key=vantage.public_key,
                allowed_ips=frozenset(),
                endpoint=self._carriage.endpoint(vantage),
                keepalive=KEEPALIVE,
            )
            for _, _, vantage in self._vantages()
            if self._carriage.endpoint(vantage) is not None
        }

    def resets(self) -> tuple[PublicKey, ...]:
        """The rendezvous peers to remove and make again now, which forces a handshake. Each is named once."""
        due = [vantage for _, _, vantage in self._vantages() if vantage.reset_due]
        for vantage in due:
            vantage.reset_due = False
        return tuple(vantage.public_key for vantage in due)

    def next_at(self, now: Instant) -> float:
        """The monotonic moment at which to read the device, and ask again, if nothing happens before."""
        moments = [self._carriage.next_at()]
        for _, _, vantage in self._vantages():
            if vantage.reset_due:
                return now.monotonic
            moments += [vantage.retry_at(), vantage.expires_at()]
        return min((moment for moment in moments if moment > now.monotonic), default=_FOREVER)

    # For pairs

    def to(self, me: Peer, peer: Peer, now: Instant) -> tuple[RelayId, Endpoint] | None:
        """The relay of the pair, and where it is reached from here; None: no relay works now. Of those that work here,
        it is the one with the least sum of both round trips in the map, which both ends see alike."""
        working = list(self.ways(now).items())
        if len(working) <= 1:
            return working[0] if working else None
        mine = {distance.relay: distance.milliseconds for distance in me.distances}
        theirs = {distance.relay: distance.milliseconds for distance in peer.distances}

        def cost(item: tuple[RelayId, Endpoint]) -> tuple[int, int, RelayId]:
            reported = [end[item[0]] for end in (mine, theirs) if item[0] in end]
            return -len(reported), sum(reported), item[0]

        return min(working, key=cost)

    def ways(self, now: Instant) -> dict[RelayId, Endpoint]:
        """The relays that work, and where packets for each are sent."""
        return {key: way for key, station in self._stations.items() if (way := self._carriage.way(station, now))}

    def relay_at(self, endpoint: Endpoint) -> RelayId | None:
        """The relay that forwards what is sent there, or did: what is there is no peer's own address."""
        for key, station in self._stations.items():
            if endpoint in station.first.candidates:
                return key
        # No peer is on this machine: WireGuard may have the port of a carrier that is gone, of an earlier program even.
        return self.carried_relay if endpoint.address.is_loopback else self._former.get(endpoint)

    def seconds_to(self, relay: RelayId) -> float:
        """The last round trip to it by UDP; 0 if none is known."""
        station = self._stations.get(relay)
        return (station.first.seconds or 0.0) if station is not None else 0.0

    def is_ready(self, now: Instant) -> bool:
        """Whether some relay knows this machine, so that peers may be called by it."""
        return any(self._carriage.way(station, now) for station in self._stations.values())

    # For carrier, pings, server and people

    @property
    def carried_relay(self) -> RelayId | None:
        """The relay that a carrier leads to; None: there is none."""
        return next((key for key, station in self._stations.items() if station.relay.web), None)

    def wants_carrier(self, now: Instant) -> bool:
        """Whether UDP was given time and did not work."""
        return self.carried_relay is not None and self._carriage.wants_carrier(now)

    def is_udp_blocked(self, now: Instant) -> bool:
        """Whether people are to be told that UDP does not get through here."""
        return self._carriage.is_udp_blocked(now)

    def distances(self, now: Instant) -> tuple[RelayDistance, ...]:
        """What to tell the server: the relays that work from here, and how far they are; nothing where there is no
        choice."""
        if len(self._stations) == 1:
            return ()
        return tuple(
            RelayDistance(key, station.distance.milliseconds)
            for key, station in sorted(self._stations.items())
            if station.distance.milliseconds is not None and self._carriage.way(station, now)
        )

    def pings(self, now: Instant) -> tuple[Ping, ...]:
        """Those that are due, which are taken to be sent."""
        return relay_pings.due(self._carriage, self._needed, now)

    def next_ping_at(self, now: Instant) -> float:
        """The monotonic moment at which `pings` has some, if nothing happens before."""
        return relay_pings.next_at(self._carriage, self._needed, now)

    def report(self, now: Instant) -> tuple[VantageReport, ...]:
        """How it stands with each vantage point."""
        return tuple(
            VantageReport(
                relay=station.relay.id,
                vantage=number,
                public_key=vantage.public_key,
                endpoint=vantage.endpoint,
                answers=vantage.answers(now),
                is_carried=vantage.is_carried,
                seconds=vantage.seconds,
                mapped=vantage.mapped,
            )
            for station, number, vantage in self._vantages()
        )

    def _remember(self) -> None:
        for key, station in self._stations.items():
            self._former.update(dict.fromkeys(station.first.candidates, key))
        for endpoint in list(self._former)[:-_MOST_FORMER]:
            del self._former[endpoint]

    def _vantages(self) -> Iterator[tuple[Station, int, Vantage]]:
        for station in self._stations.values():
            for number, vantage in enumerate(station.vantages):
                yield station, number, vantage

    def _places(self) -> list[tuple[Vantage, Endpoint | None]]:
        return [(station.first, station.first.endpoint) for station in self._stations.values()]

    def _find(self, relay: RelayId, vantage: int) -> Vantage | None:
        station = self._stations.get(relay)
        if station is None or not 0 <= vantage < len(station.vantages):
            return None
        return station.vantages[vantage]

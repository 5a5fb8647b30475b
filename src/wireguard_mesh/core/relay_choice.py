"""Which relays work from here, how far they are, which one a pair takes, and whether UDP gets through at all.

Every vantage point of every relay is one more peer of the WireGuard device (`core.vantages`). The first vantage point
of a relay forwards. A pair takes the relay with the least sum of what both ends say of their distance to it: they find
that in the same map, so both take the same one without a word.

Where UDP gets no answer, a *carrier* takes the datagrams to the coordination server over TCP: somebody wants one
(`wants_carrier`), starts it if the server answers, and says so (`carried`). The first vantage point of the carried
relay is then asked through the carrier. All others go on by UDP, and when one of them answers, so is the first; the
carrier is kept until that succeeded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import msgspec

from wireguard_mesh.core.distances import Distance
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.vantages import Vantage
from wireguard_mesh.model.devices import ObservedDevice, WantedPeer
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import Relay, RelayDistance, RelayId

KEEPALIVE: Final = 25  # seconds; WireGuard's quick start: short enough for nearly every NAT
PATIENCE: Final = 2.5  # seconds without any answer after which UDP counts as blocked
# Pings get through, WireGuard does not: two more handshakes may be lost, then something in between knows WireGuard.
PATIENCE_WITH_PONGS: Final = 8.0
LINGER: Final = 5.0  # seconds that a carrier stays once UDP works again: what is under way arrives
FIRST_RETURN: Final = 30.0  # seconds until UDP is trusted again after it did not keep what it promised
LONGEST_RETURN: Final = 600.0
NEEDED_PING: Final = 1.2  # seconds between two pings of a relay that a pair needs: three unanswered take less than 5
RETURN_PING: Final = 3.0  # while a carrier stands, to see UDP work again
DEAD_PING: Final = 5.0  # of a relay that is dead while there are others
DISTANCE_PING: Final = 30.0  # for the distance, where there is a choice
CARRIED_MILLISECONDS: Final = 1000  # for what goes by TCP, before it is measured: farther than all else
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class Ping(msgspec.Struct, frozen=True):
    """A vantage point to be asked by UDP now whether it is there: number `vantage` of that relay."""

    relay: RelayId
    vantage: int
    public_key: PublicKey
    endpoint: Endpoint


class VantageReport(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with one vantage point, for people. `seconds`: the last round trip; `mapped`: from where our last
    ping came, as seen there; `answers`: WireGuard's session with it stands."""

    relay: RelayId
    vantage: int
    public_key: PublicKey
    endpoint: Endpoint | None
    answers: bool
    is_carried: bool
    seconds: float | None
    mapped: Endpoint | None


class _Station:
    """One relay."""

    __slots__ = ("distance", "relay", "vantages")

    def __init__(self, relay: Relay, server: Sequence[Address], families: Collection[int]) -> None:
        self.relay = relay
        self.distance = Distance()
        self.vantages = tuple(
            Vantage(point.public_key, _candidates(relay, number, server, families))
            for number, point in enumerate(relay.vantage_points)
        )

    @property
    def first(self) -> Vantage:
        """The vantage point that forwards."""
        return self.vantages[0]


class _Carrier(msgspec.Struct):
    """What carries the datagrams of one relay by TCP. Times are monotonic seconds."""

    relay: RelayId
    local: Endpoint
    since: float
    works: bool = False  # the relay answered by it
    returning_since: float | None = None  # since when its relay is asked by UDP again
    udp_since: float | None = None  # since when UDP works again


class RelayChoice:
    """All relays of one mesh, as seen from this machine."""

    def __init__(self) -> None:
        self._stations: dict[RelayId, _Station] = {}
        self._local: frozenset[Address] = frozenset()
        self._needed: frozenset[RelayId] = frozenset()
        self._silent_since: float | None = None  # since when no relay answers by UDP
        self._carrier: _Carrier | None = None
        self._return_at = _NEVER  # not before, a carrier is given up for UDP
        self._return_pause = FIRST_RETURN

    # Events

    def follow(self, relays: Sequence[Relay], server: Sequence[Address], local: Sequence[LocalAddress]) -> None:
        """The map has these relays; `server`: addresses at which the coordination server is reached, the last one
        first; `local`: what this machine has. To be called when one of them changed; again changes nothing."""
        families = {link.address.version for link in local}
        before, self._stations = self._stations, {}
        for relay in relays:
            if not relay.vantage_points:
                continue
            known = before.get(relay.id)
            if known is None or known.relay.vantage_points != relay.vantage_points:
                self._stations[relay.id] = _Station(relay, server, families)
                continue
            known.relay = relay
            for number, vantage in enumerate(known.vantages):
                vantage.offer(_candidates(relay, number, server, families))
            self._stations[relay.id] = known
        addresses = frozenset(link.address for link in local)
        if addresses != self._local:
            if self._local:
                self._moved()
            self._local = addresses

    def _moved(self) -> None:
        """This machine's network is another: nothing that was known of UDP holds."""
        for station in self._stations.values():
            station.distance.forget()
            for vantage in station.vantages:
                vantage.moved()
        self._silent_since = None
        self._return_at, self._return_pause = _NEVER, FIRST_RETURN
        if self._carrier is not None:
            self._carrier.returning_since = None

    def need(self, relays: Collection[RelayId]) -> None:
        """These relays carry pairs that have no other path now: whether they live is watched closely."""
        self._needed = frozenset(relays)

    def observed(self, device: ObservedDevice, now: Instant) -> None:
        """The device was read."""
        for vantage in self._vantages():
            vantage.observe(device.peers.get(vantage.public_key), now)
        self._judge(now)

    def ponged(self, relay: RelayId, vantage: int, seconds: float, mapped: Endpoint, now: Instant) -> None:
        """A ping by UDP was answered after `seconds`, and had come from `mapped`."""
        asked = self._find(relay, vantage)
        if asked is None:
            return
        asked.ponged(seconds, mapped, now)
        if vantage == 0:
            self._stations[relay].distance.add(seconds)
        carrier = self._carrier
        if carrier is not None and not self._is_carried(asked) and asked.handshake_at <= carrier.since:
            asked.restart()  # UDP seems to work: whether WireGuard itself gets through is seen at once
            asked.pinged_at = now.monotonic

    def missed(self, relay: RelayId, vantage: int, now: Instant) -> None:
        """A ping was not answered in time."""
        asked = self._find(relay, vantage)
        if asked is not None and not self._is_carried(asked):
            asked.missed(now)
            self._judge(now)

    def carried(
        self, relay: RelayId | None, local: Endpoint | None, now: Instant, *, seconds: float | None = None
    ) -> None:
        """What is sent to `local` is carried to that relay from now on, with a round trip of `seconds`; `None`: nothing
        is any more."""
        before, self._carrier = self._carrier, None
        if before is not None and before.relay in self._stations:
            first = self._stations[before.relay].first
            if first.is_carried or before.returning_since is None:
                first.restart()
        if relay is None or local is None or relay not in self._stations:
            return
        station = self._stations[relay]
        self._carrier = _Carrier(relay, local, now.monotonic)
        station.distance.forget()
        station.distance.add(CARRIED_MILLISECONDS / 1000 if seconds is None else seconds)
        station.first.restart()

    def _judge(self, now: Instant) -> None:
        """Whether UDP gets through."""
        firsts = [station.first for station in self._stations.values()]
        if any(self._answers_by_udp(first, now) for first in firsts):
            self._silent_since = None
        elif self._silent_since is None:
            dead = [first.missed_at for first in firsts if first.is_dead]
            if dead and len(dead) == len(firsts):
                self._silent_since = min(dead)
            elif any(first.asked_at is not None for first in firsts):
                self._silent_since = now.monotonic
        if self._carrier is not None:
            self._judge_carrier(self._carrier, now)

    def _judge_carrier(self, carrier: _Carrier, now: Instant) -> None:
        station = self._stations.get(carrier.relay)
        if station is None:
            return
        first = station.first
        carrier.works = carrier.works or (first.is_carried and first.handshake_at >= carrier.since)
        if self._silent_since is None:
            if carrier.udp_since is None:
                carrier.udp_since = now.monotonic
                self._return_pause = FIRST_RETURN
        else:
            carrier.udp_since = None
        if carrier.returning_since is None:
            if now.monotonic >= self._return_at and self._is_udp_heard(carrier, now):
                carrier.returning_since = now.monotonic
                first.restart()
        elif carrier.udp_since is None and now.monotonic >= carrier.returning_since + PATIENCE:
            carrier.returning_since = None
            self._return_at = now.monotonic + self._return_pause
            self._return_pause = min(LONGEST_RETURN, 2 * self._return_pause)
            first.restart()

    def _is_udp_heard(self, carrier: _Carrier, now: Instant) -> bool:
        """Whether a vantage point that is not carried answered since the carrier stands; a handshake if there is a
        second one, for pings are not WireGuard's."""
        others = [vantage for vantage in self._vantages() if not self._is_carried(vantage)]
        if not others:
            return self._stations[carrier.relay].first.pong_at > carrier.since
        return any(vantage.answers(now) and vantage.handshake_at > carrier.since for vantage in others)

    # For the device

    def rendezvous_peers(self, now: Instant) -> dict[PublicKey, WantedPeer]:
        """The vantage points as peers of the device; `now` is not needed for it yet."""
        del now
        return {
            vantage.public_key: WantedPeer(
                public_key=vantage.public_key,
                allowed_ips=frozenset(),
                endpoint=self._carrier.local if self._carrier and self._is_carried(vantage) else vantage.endpoint,
                keepalive=KEEPALIVE,
            )
            for vantage in self._vantages()
            if vantage.endpoint is not None
        }

    def resets(self) -> tuple[PublicKey, ...]:
        """The rendezvous peers to remove and make again now, which forces a handshake. Each is named once."""
        due = [vantage for vantage in self._vantages() if vantage.reset_due]
        for vantage in due:
            vantage.reset_due = False
        return tuple(vantage.public_key for vantage in due)

    def next_at(self, now: Instant) -> float:
        """The monotonic moment at which to read the device, and ask again, if nothing happens before."""
        moments = [vantage.retry_at() for vantage in self._vantages()]
        moments += [vantage.expires_at() for vantage in self._vantages() if vantage.works(now)]
        if self._silent_since is not None and self._carrier is None:
            moments += [self._silent_since + PATIENCE, self._silent_since + PATIENCE_WITH_PONGS]
        if self._carrier is not None:
            returning, udp = self._carrier.returning_since, self._carrier.udp_since
            if returning is not None and udp is None:
                moments.append(returning + PATIENCE)
            if udp is not None:
                moments.append(udp + LINGER)
        if any(vantage.reset_due for vantage in self._vantages()):
            return now.monotonic
        return min((moment for moment in moments if moment > now.monotonic), default=_FOREVER)

    # For pairs

    def to(self, me: Peer, peer: Peer, now: Instant) -> tuple[RelayId, Endpoint] | None:
        """The relay of the pair, and where it is reached from here; None: no relay works now. Of those that work here,
        both ends take the one with the least sum of both round trips in the map."""
        working = [(key, way) for key, station in self._stations.items() if (way := self._way(station, now))]
        if not working:
            return None
        if len(working) == 1:
            return working[0]
        mine = {distance.relay: distance.milliseconds for distance in me.distances}
        theirs = {distance.relay: distance.milliseconds for distance in peer.distances}

        def cost(item: tuple[RelayId, Endpoint]) -> tuple[int, int, RelayId]:
            ways = [ends[item[0]] for ends in (mine, theirs) if item[0] in ends]
            return -len(ways), sum(ways), item[0]

        return min(working, key=cost)

    def relay_at(self, endpoint: Endpoint) -> RelayId | None:
        """The relay that forwards what is sent there."""
        if self._carrier is not None and endpoint == self._carrier.local:
            return self._carrier.relay
        for key, station in self._stations.items():
            if endpoint in station.first.candidates:
                return key
        return None

    def is_ready(self, now: Instant) -> bool:
        """Whether some relay knows this machine, so that peers may be called by it."""
        return any(self._way(station, now) for station in self._stations.values())

    # For carrier, pings, server and people

    @property
    def carried_relay(self) -> RelayId | None:
        """The relay that a carrier could lead to, if there is any."""
        return next((key for key, station in self._stations.items() if station.relay.web), None)

    def wants_carrier(self, now: Instant) -> bool:
        """Whether UDP was given time and did not work. A carrier that stands is wanted a little longer than that."""
        if self.carried_relay is None:
            return False
        if self._carrier is not None:
            udp = self._carrier.udp_since
            return udp is None or now.monotonic < udp + LINGER
        if self._silent_since is None:
            return False
        has_pongs = any(vantage.pong_at > self._silent_since for vantage in self._vantages())
        return now.monotonic >= self._silent_since + (PATIENCE_WITH_PONGS if has_pongs else PATIENCE)

    def distances(self, now: Instant) -> tuple[RelayDistance, ...]:
        """What to tell the server: the relays that work from here, and how far they are; nothing where there is no
        choice."""
        if len(self._stations) < 2:
            return ()
        return tuple(
            RelayDistance(key, station.distance.milliseconds)
            for key, station in sorted(self._stations.items())
            if self._way(station, now) and station.distance.milliseconds is not None
        )

    def pings(self, now: Instant) -> tuple[Ping, ...]:
        """Those that are due, which are taken to be sent."""
        due: list[Ping] = []
        for station, number, vantage in self._numbered():
            endpoint = vantage.endpoint
            if endpoint is not None and now.monotonic >= vantage.pinged_at + self._ping_gap(station, number, now):
                vantage.pinged_at = now.monotonic
                due.append(Ping(station.relay.id, number, vantage.public_key, endpoint))
        return tuple(due)

    def next_ping_at(self, now: Instant) -> float:
        """The monotonic moment at which `pings` has some, if nothing happens before."""
        moments = (
            vantage.pinged_at + gap
            for station, number, vantage in self._numbered()
            if (gap := self._ping_gap(station, number, now)) != _FOREVER
        )
        return max(now.monotonic, min(moments, default=_FOREVER))

    def _ping_gap(self, station: _Station, number: int, now: Instant) -> float:
        """Seconds between two pings of that vantage point."""
        vantage = station.vantages[number]
        if self._carrier is not None:
            is_sole = len(station.vantages) == 1
            return RETURN_PING if is_sole or not self._is_carried(vantage) else _FOREVER
        if vantage.asked_at is not None and now.monotonic < vantage.asked_at + PATIENCE_WITH_PONGS:
            return NEEDED_PING
        if number:
            return _FOREVER
        if station.relay.id in self._needed and not vantage.is_dead:
            return NEEDED_PING
        if vantage.is_dead:
            return NEEDED_PING if self._silent_since is not None else DEAD_PING
        return DISTANCE_PING if len(self._stations) > 1 else _FOREVER

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
            for station, number, vantage in self._numbered()
        )

    # Parts

    def _vantages(self) -> Iterator[Vantage]:
        for station in self._stations.values():
            yield from station.vantages

    def _numbered(self) -> Iterator[tuple[_Station, int, Vantage]]:
        for station in self._stations.values():
            for number, vantage in enumerate(station.vantages):
                yield station, number, vantage

    def _find(self, relay: RelayId, vantage: int) -> Vantage | None:
        station = self._stations.get(relay)
        if station is None or not 0 <= vantage < len(station.vantages):
            return None
        return station.vantages[vantage]

    def _is_carried(self, vantage: Vantage) -> bool:
        """Whether that one is asked by the carrier now."""
        carrier = self._carrier
        if carrier is None or carrier.returning_since is not None or carrier.relay not in self._stations:
            return False
        return vantage is self._stations[carrier.relay].first

    def _answers_by_udp(self, vantage: Vantage, now: Instant) -> bool:
        return vantage.answers(now) and not vantage.is_carried and not self._is_carried(vantage)

    def _way(self, station: _Station, now: Instant) -> Endpoint | None:
        """Where packets for that relay are sent; None: it does not work now."""
        carrier = self._carrier
        is_carried = carrier is not None and carrier.relay == station.relay.id
        if not is_carried:
            return station.first.endpoint if station.first.works(now) else None
        assert carrier is not None
        if self._answers_by_udp(station.first, now):
            return station.first.endpoint
        return carrier.local if carrier.works else None


def _candidates(
    relay: Relay, number: int, server: Sequence[Address], families: Collection[int]
) -> tuple[Endpoint, ...]:
    """Where that vantage point may be reached, IPv4 first, for its NATs are to be seen; addresses of a family that this
    machine lacks only if there are no others."""
    endpoints = relay.endpoints(number) or tuple(
        dict.fromkeys(
            Endpoint(address, relay.vantage_points[number].port)
            for address in sorted(server, key=lambda address: address.version)
        )
    )
    usable = tuple(item for item in endpoints if item.address.version in families or item.address.is_loopback)
    return usable or endpoints

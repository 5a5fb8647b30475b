"""Whether UDP gets through, and what carries datagrams by TCP as long as it does not.

UDP counts as blocked when no relay answers by it for `PATIENCE`. A *carrier* is wanted then; it stands only if the
coordination server answers over HTTP, so a server that is down is not mistaken for a blocked network. While it stands,
the first vantage point of the carried relay is asked through it and all others go on by UDP. When one of those answers
WireGuard's handshake, the first is asked by UDP too; the carrier is kept until that succeeded, and a little longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.stations import Station
from wireguard_mesh.core.vantages import Vantage
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.relays import RelayId

PATIENCE: Final = 2.5  # seconds without any answer after which UDP counts as blocked
# Pings get through, WireGuard does not: two more handshakes may be lost, then something in between knows WireGuard.
PATIENCE_WITH_PONGS: Final = 8.0
# Seconds that a carrier stands until UDP is called blocked: WireGuard asks by UDP each 5 s (Rekey-Timeout). A server
# that was down may answer over HTTP a moment before its relay does.
CERTAIN: Final = 6.0
LINGER: Final = 5.0  # seconds that a carrier stays once UDP works again: what is under way arrives
FIRST_PAUSE: Final = 30.0  # seconds until UDP is trusted again after it did not keep what it promised
LONGEST_PAUSE: Final = 600.0
CARRIED_SECONDS: Final = 1.0  # a round trip by TCP before it is measured: farther than all else
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class _Attempts:
    """How often something may be tried that may fail each time: after each twice as long a pause."""

    def __init__(self) -> None:
        self._next = _NEVER
        self._pause = FIRST_PAUSE

    def is_due(self, now: Instant) -> bool:
        return now.monotonic >= self._next

    def made(self, now: Instant) -> None:
        self._next = now.monotonic + self._pause
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def forget(self) -> None:
        self._next, self._pause = _NEVER, FIRST_PAUSE


class Carrier(msgspec.Struct):
    """What carries one relay's datagrams that are sent to `local`. Times are monotonic seconds."""

    relay: RelayId
    local: Endpoint
    first: Vantage
    since: float
    works: bool = False  # the relay answered by it
    returning_since: float | None = None  # since when its relay is asked by UDP again
    udp_since: float | None = None  # since when UDP works again


class Carriage:
    """`stations` are those of the whole mesh; whoever owns them may change the mapping."""

    def __init__(self, stations: Mapping[RelayId, Station]) -> None:
        self.stations = stations
        self.carrier: Carrier | None = None
        self.silent_since: float | None = None
        """Since when no relay answers by UDP; None: one does, or none was asked."""
        self._returns = _Attempts()
        self._trials = _Attempts()

    # Events

    def moved(self) -> None:
        """This machine's network is another: nothing that was known of UDP holds."""
        self.silent_since = None
        self._returns.forget()
        self._trials.forget()
        if self.carrier is not None:
            self.carrier.returning_since = self.carrier.udp_since = None

    def stations_changed(self) -> None:
        """There are other relays, or they are elsewhere: they get their time. A carrier to one that is gone carries
        nothing."""
        self.silent_since = None
        carrier = self.carrier
        if carrier is not None:
            station = self.stations.get(carrier.relay)
            if station is None or station.first is not carrier.first:
                self.carrier = None

    def stands(self, station: Station, local: Endpoint, now: Instant, seconds: float | None) -> None:
        """What is sent to `local` reaches that relay, with a round trip of `seconds` if that is known."""
        self.ended()
        self.carrier = Carrier(station.relay.id, local, station.first, now.monotonic)
        station.distance.forget()
        station.distance.add(CARRIED_SECONDS if seconds is None else seconds)
        station.first.restart()

    def ended(self) -> None:
        """Nothing is carried any more."""
        carrier, self.carrier = self.carrier, None
        if carrier is None:
            return
        self.stations[carrier.relay].distance.forget()
        if carrier.returning_since is None:
            carrier.first.restart()

    def ponged(self, vantage: Vantage, now: Instant) -> None:
        """That one answered a ping by UDP."""
        carrier = self.carrier
        if carrier is None or self.is_carried(vantage) or vantage.handshake_at > carrier.since:
            return
        if self._trials.is_due(now):
            # Whether WireGuard itself gets through shall be seen at once.
            self._trials.made(now)
            vantage.restart()
            vantage.pinged_at = now.monotonic

    def judge(self, now: Instant) -> None:
        """Something may be known of UDP that was not."""
        firsts = [station.first for station in self.stations.values()]
        if any(self.answers_by_udp(first, now) for first in firsts):
            self.silent_since = None
        elif self.silent_since is None:
            self.silent_since = self._beginning_of_silence(firsts, now)
        if self.carrier is not None:
            self._judge_carrier(self.carrier, now)

    @staticmethod
    def _beginning_of_silence(firsts: Iterable[Vantage], now: Instant) -> float | None:
        # One whose place nobody here knows cannot be asked: a name that only a proxy resolves.
        asked = [first for first in firsts if first.is_dead or first.asked_at is not None or first.endpoint is None]
        return min((first.missed_at if first.is_dead else now.monotonic for first in asked), default=None)

    def _judge_carrier(self, carrier: Carrier, now: Instant) -> None:
        first = carrier.first
        carrier.works = carrier.works or (first.is_carried and first.handshake_at >= carrier.since)
        if self.silent_since is not None:
            carrier.udp_since = None
        elif carrier.udp_since is None:
            carrier.udp_since = now.monotonic
            self._returns.forget()
            self._trials.forget()
        if carrier.returning_since is None:
            if self._returns.is_due(now) and self._is_udp_heard(carrier, now):
                carrier.returning_since = now.monotonic
                first.restart()
        elif carrier.udp_since is None and now.monotonic >= carrier.returning_since + PATIENCE:
            carrier.returning_since = None
            self._returns.made(now)
            first.restart()

    def _is_udp_heard(self, carrier: Carrier, now: Instant) -> bool:
        """Whether UDP brought something since the carrier stands: a handshake at a vantage point that is not carried,
        or a pong where there is none."""
        others = [vantage for vantage in self._vantages() if vantage is not carrier.first]
        if not others:
            return carrier.first.pong_at > carrier.since
        return any(vantage.answers(now) and vantage.handshake_at > carrier.since for vantage in others)

    # Answers

    def wants_carrier(self, now: Instant) -> bool:
        """Whether UDP was given time and did not work. A carrier that stands is wanted a little longer than that."""
        if self.carrier is not None:
            udp = self.carrier.udp_since
            return udp is None or now.monotonic < udp + LINGER
        return self.silent_since is not None and now.monotonic >= self.silent_since + self._patience()

    def is_udp_blocked(self, now: Instant) -> bool:
        """Whether no relay answered by UDP for long enough to say so, while the server did over HTTP."""
        carrier = self.carrier
        return carrier is not None and carrier.udp_since is None and now.monotonic >= carrier.since + CERTAIN

    def _patience(self) -> float:
        assert self.silent_since is not None
        if any(station.first.was_carried for station in self.stations.values()):
            return 0.0  # UDP was blocked for the agent before, and whether it still is shows by the carrier as well
        has_pongs = any(vantage.pong_at > self.silent_since for vantage in self._vantages())
        return PATIENCE_WITH_PONGS if has_pongs else PATIENCE

    def next_at(self) -> float:
        """The monotonic moment from which `judge` or `wants_carrier` may say something else by time alone."""
        carrier = self.carrier
        if carrier is None:
            return _FOREVER if self.silent_since is None else self.silent_since + self._patience()
        if carrier.udp_since is not None:
            return carrier.udp_since + LINGER
        return _FOREVER if carrier.returning_since is None else carrier.returning_since + PATIENCE

    def endpoint(self, vantage: Vantage) -> Endpoint | None:
        """Where the device is to send what is for that vantage point; None: not known."""
        if self.carrier is not None and self.is_carried(vantage):
            return self.carrier.local
        return vantage.endpoint

    def way(self, station: Station, now: Instant) -> Endpoint | None:
        """Where packets for that relay are to be sent; None: it does not work now."""
        first, carrier = station.first, self.carrier
        if carrier is None or carrier.first is not first:
            return first.endpoint if first.works(now) and not first.is_carried else None
        if self.answers_by_udp(first, now):
            return first.endpoint
        return carrier.local if carrier.works else None

    def is_carried(self, vantage: Vantage) -> bool:
        """Whether that one is asked by the carrier now."""
        carrier = self.carrier
        return carrier is not None and carrier.returning_since is None and vantage is carrier.first

    def answers_by_udp(self, vantage: Vantage, now: Instant) -> bool:
        """Whether a session with it stands by UDP."""
        return vantage.answers(now) and not vantage.is_carried and not self.is_carried(vantage)

    def _vantages(self) -> Iterator[Vantage]:
        for station in self.stations.values():
            yield from station.vantages

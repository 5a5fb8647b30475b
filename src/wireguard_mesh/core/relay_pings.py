"""When which vantage point is pinged. Where nothing depends on an answer, none is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from wireguard_mesh.core.carriage import PATIENCE_WITH_PONGS, Carriage
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.stations import Station
from wireguard_mesh.core.vantages import Vantage
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import RelayId

NEEDED_GAP: Final = 1.2  # seconds between two pings of a relay that a pair needs: three unanswered take less than 5
RETURN_GAP: Final = 3.0  # while datagrams are carried, to see UDP work again
LONGEST_GAP: Final = 10.0  # of a relay that is dead: what needs it is back within 15 s of its return
ANSWER_TIME: Final = 1.0  # seconds after which a ping counts as missed
DISTANCE_GAP: Final = 30.0  # for distances, where there is a choice
_FOREVER: Final = float("inf")


class Ping(msgspec.Struct, frozen=True):
    """A vantage point to be asked by UDP now whether it is there: number `vantage` of that relay."""

    relay: RelayId
    vantage: int
    public_key: PublicKey
    endpoint: Endpoint


def due(carriage: Carriage, needed: Collection[RelayId], now: Instant) -> tuple[Ping, ...]:
    """Those that are due, which are taken to be sent."""
    pings: list[Ping] = []
    for station, number, vantage in _numbered(carriage):
        endpoint = vantage.endpoint
        gap = _gap(carriage, needed, station, number, now)
        if endpoint is not None and gap is not None and now.monotonic >= vantage.pinged_at + gap:
            vantage.pinged_at = now.monotonic
            pings.append(Ping(station.relay.id, number, vantage.public_key, endpoint))
    return tuple(pings)


def next_at(carriage: Carriage, needed: Collection[RelayId], now: Instant) -> float:
    """The monotonic moment at which some are due, if nothing happens before."""
    moments = [
        vantage.pinged_at + gap
        for station, number, vantage in _numbered(carriage)
        if vantage.endpoint is not None and (gap := _gap(carriage, needed, station, number, now)) is not None
    ]
    return max(now.monotonic, min(moments, default=_FOREVER))


def _numbered(carriage: Carriage) -> Iterator[tuple[Station, int, Vantage]]:
    for station in carriage.stations.values():
        for number, vantage in enumerate(station.vantages):
            yield station, number, vantage


def _gap(carriage: Carriage, needed: Collection[RelayId], station: Station, number: int, now: Instant) -> float | None:
    """Seconds between two pings of that vantage point; None: none are sent."""
    vantage = station.vantages[number]
    if carriage.carrier is not None:
        # The one that is carried need not be asked by UDP if there is another to tell.
        is_sole = len(station.vantages) == 1
        return RETURN_GAP if is_sole or vantage is not carriage.carrier.first else None
    if vantage.asked_at is not None and now.monotonic < vantage.asked_at + PATIENCE_WITH_PONGS:
        return NEEDED_GAP
    if number:
        return None
    if vantage.is_dead:
        return min(LONGEST_GAP, vantage.misses * NEEDED_GAP)
    if station.relay.id in needed:
        return NEEDED_GAP
    return DISTANCE_GAP if len(carriage.stations) > 1 else None

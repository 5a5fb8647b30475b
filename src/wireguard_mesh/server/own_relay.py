"""The server's own relay: which it is, its UDP ports, and the process that reads them."""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from wireguard_mesh.core.changes import can_follow
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.endpoints import MAX_PORT, Address, Endpoint
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.relays import OWN_RELAY, Relay, RelayId, VantagePoint, parse_relay_id
from wireguard_mesh.protocol.api import RelayCounters
from wireguard_mesh.protocol.relay_keys import server_relay_key, vantage_keys
from wireguard_mesh.relay.control import Observed, Setup, Stats
from wireguard_mesh.relay.sockets import VANTAGES, Sockets, bind_vantages, close
from wireguard_mesh.relay.supervisor import RelaySupervisor
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.config import Settings
from wireguard_mesh.store.location import PostgresUrl

log = logging.getLogger(__name__)

UNABLE_SECONDS: Final = 15.0  # a process that cannot be started for so long is offered to nobody
_TRIES: Final = 20  # of two neighbouring ports that are free
_DIGITS: Final = 16
_FIRST_ANY: Final = 49_152  # of the dynamic ports, RFC 6335 section 6


@dataclass(frozen=True, slots=True)
class Place:
    """A relay that is to be started: what the map says of it, its keys, and its sockets."""

    relay: Relay
    keys: tuple[PrivateKey, ...]
    sockets: Sockets
    folder: Path

    @property
    def ports(self) -> tuple[int, ...]:
        """Its UDP ports."""
        return tuple(point.port for point in self.relay.vantage_points)

    def close(self) -> None:
        """Let go of the ports."""
        close(self.sockets)


def find_place(settings: Settings, http_port: int) -> Place | None:
    """The relay that these settings ask for, with its ports bound; None if there is to be none.

    Raises `Conflict`, `NotPermitted`, `InvalidValue`.
    """
    if not settings.udp:
        return None
    is_shared = isinstance(settings.database, PostgresUrl)
    if is_shared and not settings.relay_address:
        log.warning(
            "this server relays nothing: others may serve the same mesh, so clients must be told where its UDP ports "
            "are; start it with -relay-address HOST, or with -udp off"
        )
        return None
    found = resolve(settings.relay_address) if settings.relay_address else (None, None)
    for address in found:
        if address is not None:
            _check_address(settings.relay_address, address)
    sockets = _bind(_host(settings.listen.host, found), settings.listen.port, http_port)
    first = sockets[0][0].getsockname()[1]
    if is_shared:
        relay_id = name_of(settings.relay_address, first)
        keys = vantage_keys(server_relay_key(settings.private_key, relay_id), relay_id)
    else:
        relay_id = OWN_RELAY
        keys = vantage_keys(settings.private_key, relay_id)
    points = tuple(VantagePoint(key.public_key, first + number) for number, key in enumerate(keys))
    relay = Relay(id=relay_id, vantage_points=points, ipv4=found[0], ipv6=found[1], web=True)
    database = settings.database
    folder = settings.file.parent if isinstance(database, PostgresUrl) else database.parent
    return Place(relay, keys, sockets, folder)


def name_of(address: str, port: int) -> RelayId:
    """The name of the relay of one of several servers, the same after each start."""
    try:
        return parse_relay_id(f"{OWN_RELAY}-{address.lower().replace(':', '-')}-{port}")
    except InvalidValue:  # too long, or with what a name here does not have
        return parse_relay_id(f"{OWN_RELAY}-{sha256(address.encode()).hexdigest()[:_DIGITS]}-{port}")


def resolve(host: str) -> tuple[IPv4Address | None, IPv6Address | None]:
    """The first address of each family that a host has. Raises `InvalidValue`."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        raise InvalidValue(
            f"-relay-address: {host} has no address", "name a host that clients find, or write its address"
        ) from None
    addresses = [ip_address(str(target[0]).partition("%")[0]) for *_, target in found]
    ipv4 = next((address for address in addresses if isinstance(address, IPv4Address)), None)
    ipv6 = next((address for address in addresses if isinstance(address, IPv6Address)), None)
    return ipv4, ipv6


def _check_address(host: str, address: Address) -> None:
    try:
        Endpoint(address, MAX_PORT)
    except InvalidValue:
        raise InvalidValue(
            f"-relay-address: {host} is no address of one machine", "name a host that clients find, or its address"
        ) from None


class OwnRelay:
    """The process of a `Place`, kept running, told of all who are registered."""

    def __init__(self, place: Place, snapshot: Snapshot, clock: Clock, on_observed: Callable[[Observed], None]) -> None:
        self.place = place
        self._clock = clock
        self._snapshot = snapshot
        self._stats = Stats()
        self._was_ready = clock.monotonic()
        setup = Setup(
            relay=place.relay.id,
            vantages=place.keys,
            folder=str(place.folder),
            log_level=logging.getLevelName(log.getEffectiveLevel()),
        )
        self._supervisor = RelaySupervisor(place.sockets, setup, on_observed, self._take_stats)
        self._supervisor.roster(add=snapshot.records, whole=True)

    @property
    def relay(self) -> Relay:
        """What the map says of it."""
        return self.place.relay

    @property
    def id(self) -> RelayId:
        """Its name."""
        return self.place.relay.id

    @property
    def is_up(self) -> bool:
        """Its process relays now."""
        return self._supervisor.is_ready

    @property
    def is_able(self) -> bool:
        """Whether it relays, or will again in a moment. To be asked now and then."""
        now = self._clock.monotonic()
        if self.is_up:
            self._was_ready = now
        return now - self._was_ready <= UNABLE_SECONDS

    @property
    def counters(self) -> RelayCounters:
        """What it does."""
        return self._stats.counters

    def follow(self, snapshot: Snapshot) -> None:
        """Others are registered now; costs as much as changed."""
        before, self._snapshot = self._snapshot, snapshot
        if not can_follow(snapshot, before.version):
            self._supervisor.roster(add=snapshot.records, whole=True)
            return
        since = before.revision
        gone = [before.keys[peer_id] for peer_id in snapshot.removed_since(since) if peer_id in before.keys]
        removed = [key for key in gone if key not in snapshot.records]
        changed = (record.peer.public_key for record in snapshot.changed_since(since))
        added = [key for key in changed if key not in before.records]
        if added or removed:
            self._supervisor.roster(add=added, remove=removed)

    def adopt(self, connection: socket.socket, data: bytes, key: PublicKey) -> bool:
        """Hand over a connection that is a WebSocket of this peer; see `RelaySupervisor.adopt`."""
        return self._supervisor.adopt(connection, data, key)

    async def run(self) -> None:
        """Keep it running until `stop`."""
        try:
            await self._supervisor.run()
        except Exception:
            # A fault of ours: it is offered to nobody soon, and all else goes on.
            log.exception("the relay process is looked after no more")

    def stop(self) -> None:
        """End it."""
        self._supervisor.stop()

    def _take_stats(self, stats: Stats) -> None:
        self._stats = stats


def _host(listen: str, found: Sequence[Address | None]) -> str:
    """Where UDP listens: where TCP does, unless that is for a proxy of this machine, which carries TCP only."""
    is_reached = any(address is not None and not address.is_loopback for address in found)
    return "" if is_reached and _is_loopback(listen) else listen


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, wanted: int, http_port: int) -> Sockets:
    try:
        return bind_vantages(host, http_port)
    except MeshError as error:
        if wanted == 0:
            return _bind_any(host)
        raise type(error)(error.message, f"{error.hint}; with -udp off the server relays nothing") from None


def _bind_any(host: str) -> Sockets:
    for _ in range(_TRIES):
        try:
            return bind_vantages(host, random.randrange(_FIRST_ANY, MAX_PORT - VANTAGES))
        except Conflict:
            continue
    raise Conflict("no two neighbouring UDP ports are free", "choose a port with -listen, or start with -udp off")

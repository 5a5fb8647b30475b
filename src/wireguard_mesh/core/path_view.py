"""What device and map together tell of relays, UDP and paths, for people who ask how the mesh is.

WireGuard itself is the witness: each vantage point is one of its peers, so a session with it proves the way there, and
the address of that session says by what it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from wireguard_mesh.core.relay_choice import VantageReport
from wireguard_mesh.core.tunnels import REJECT_AFTER_TIME
from wireguard_mesh.model.devices import ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, PathReport, Trial
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.model.relays import NatClass, Relay, RelayId
from wireguard_mesh.protocol.status import NatStatus, RelayStatus, Transport, UdpState

_MILLI: Final = 1000.0
FORWARDING: Final = 0
"""The number of the vantage point that forwards, too."""


def relay_endpoints(relay: Relay, server: Sequence[Address], number: int = FORWARDING) -> tuple[Endpoint, ...]:
    """Where one vantage point of a relay is reached. `server`: where the coordination server is."""
    port = relay.vantage_points[number].port
    return relay.endpoints(number) or tuple(Endpoint(address, port) for address in server)


def relay_statuses(
    network_map: NetworkMap | None,
    device: ObservedDevice | None,
    paths: Iterable[PathReport],
    server: Sequence[Address],
    reports: Sequence[VantageReport],
    wall: float,
) -> tuple[RelayStatus, ...]:
    """Every relay of the map, in its order. `reports`: what the agent knows of vantage points, nothing where none runs
    and the device alone tells; `wall`: Unix seconds.

    A relay is reached if its first vantage point answers, which forwards; that is also the one that is watched, so the
    other's session may stand though the relay is gone."""
    if network_map is None:
        return ()
    used = [path.relay for path in paths if path.kind is PathKind.RELAY]
    statuses = []
    for relay in network_map.relays:
        known = next((one for one in reports if one.relay == relay.id and one.vantage == FORWARDING), None)
        addresses = relay_endpoints(relay, server)
        sessions = _sessions(relay, device)
        transport = _observed(sessions, addresses, wall) if known is None else _reported(known)
        statuses.append(
            RelayStatus(
                id=relay.id,
                addresses=addresses,
                reachable=transport is not Transport.NONE,
                transport=transport,
                latest_handshake=max((one.latest_handshake for one in sessions), default=0.0),
                milliseconds=_milliseconds(known),
                pairs=used.count(relay.id),
            )
        )
    return tuple(statuses)


def _reported(first: VantageReport) -> Transport:
    """By what the vantage point that forwards is reached."""
    if not first.answers:
        return Transport.NONE
    return Transport.WEBSOCKET if first.is_carried else Transport.UDP


def _milliseconds(first: VantageReport | None) -> float | None:
    """The last round trip, of a relay that answers."""
    if first is None or first.seconds is None or not first.answers:
        return None
    return round(first.seconds * _MILLI, 3)


def _sessions(relay: Relay, device: ObservedDevice | None) -> list[ObservedPeer]:
    """WireGuard's with the relay's vantage points, the one that forwards first."""
    found = [device.peers.get(vantage.public_key) for vantage in relay.vantage_points] if device else []
    return [one for one in found if one is not None]


def _observed(sessions: Iterable[ObservedPeer], addresses: Sequence[Endpoint], wall: float) -> Transport:
    """The same as `_reported`, by the first session that lives."""
    alive = next((one for one in sessions if wall - one.latest_handshake < REJECT_AFTER_TIME), None)
    if alive is None:
        return Transport.NONE
    return Transport.WEBSOCKET if _is_carried(alive, addresses) else Transport.UDP


def _is_carried(seen: ObservedPeer, addresses: Sequence[Endpoint]) -> bool:
    """Whether packets go to this machine itself, which carries them on by WebSocket, and not to the relay."""
    if seen.endpoint is None or not seen.endpoint.address.is_loopback:
        return False
    return all(not one.address.is_loopback for one in addresses)


def udp_state(relays: Iterable[RelayStatus], paths: Iterable[PathReport], nat: NatClass) -> UdpState:
    """Whether UDP gets through, by all that lives now, else by what the relays said last."""
    known = list(relays)
    is_direct = any(path.kind is PathKind.DIRECT and path.candidate is not CandidateKind.LAN for path in paths)
    if is_direct or any(relay.transport is Transport.UDP for relay in known):
        return UdpState.WORKS
    if nat is NatClass.BLOCKED or any(relay.transport is Transport.WEBSOCKET for relay in known):
        return UdpState.BLOCKED
    return UdpState.UNKNOWN


def nat_status(network_map: NetworkMap | None, host: tuple[Endpoint, ...]) -> NatStatus:
    """What the map says of this machine. `host`: its own addresses now."""
    if network_map is None:
        return NatStatus(host=host)
    me = network_map.me
    return NatStatus(kind=me.nat, host=host or me.endpoints, reflexive=me.reflexive, mapped=me.mapped)


def path_of_device(
    peer: Peer, seen: ObservedPeer | None, relays: Mapping[Endpoint, RelayId], *, is_alive: bool
) -> PathReport:
    """The path by the device alone, where no agent runs that knows more. `relays`: which relay is at which address."""
    trials = _untried(peer)
    endpoint = seen.endpoint if seen else None
    if endpoint is None or not is_alive:
        return PathReport(kind=PathKind.NONE, endpoint=endpoint, trials=trials)
    relay = relays.get(endpoint)
    if relay is not None:
        return PathReport(kind=PathKind.RELAY, endpoint=endpoint, relay=relay, trials=trials)
    kind = next((trial.kind for trial in trials if trial.endpoint == endpoint), CandidateKind.SEEN)
    return PathReport(kind=PathKind.DIRECT, endpoint=endpoint, candidate=kind, trials=trials)


def _untried(peer: Peer) -> tuple[Trial, ...]:
    groups = (
        (CandidateKind.HOST, peer.endpoints),
        (CandidateKind.MAPPED, peer.mapped),
        (CandidateKind.REFLEXIVE, peer.reflexive),
    )
    found: dict[Endpoint, CandidateKind] = {}
    for kind, endpoints in groups:
        for endpoint in endpoints:
            found.setdefault(endpoint, kind)
    return tuple(Trial(endpoint=endpoint, kind=kind, outcome=Outcome.UNTRIED) for endpoint, kind in found.items())


def relays_by_endpoint(
    network_map: NetworkMap | None, device: ObservedDevice | None, server: Sequence[Address]
) -> dict[Endpoint, RelayId]:
    """Which relay is at which address: where it says that it is, and where WireGuard speaks with it now."""
    found: dict[Endpoint, RelayId] = {}
    for relay in network_map.relays if network_map else ():
        found.update(dict.fromkeys(relay_endpoints(relay, server), relay.id))
        seen = device.peers.get(relay.vantage_points[FORWARDING].public_key) if device else None
        if seen is not None and seen.endpoint is not None:
            found[seen.endpoint] = relay.id
    return found

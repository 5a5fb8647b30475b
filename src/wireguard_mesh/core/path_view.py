"""What device and map together tell of relays, UDP and paths, for people who ask how the mesh is.

WireGuard itself is the witness: each vantage point is one of its peers, so a session with it proves the way there, and
the address of that session says by what it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from wireguard_mesh.core.tunnels import REJECT_AFTER_TIME
from wireguard_mesh.model.devices import ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, PathReport, Trial
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.model.relays import NatClass, Relay, RelayId
from wireguard_mesh.protocol.status import NatStatus, RelayStatus, Transport, UdpState

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
    milliseconds: Mapping[RelayId, float],
    wall: float,
) -> tuple[RelayStatus, ...]:
    """Every relay of the map, in its order. `milliseconds`: the round trips that are known; `wall`: Unix seconds."""
    if network_map is None:
        return ()
    used = [path.relay for path in paths if path.kind is PathKind.RELAY]
    return tuple(
        _status(relay, device, server, milliseconds.get(relay.id), used.count(relay.id), wall)
        for relay in network_map.relays
    )


def _status(
    relay: Relay,
    device: ObservedDevice | None,
    server: Sequence[Address],
    milliseconds: float | None,
    pairs: int,
    wall: float,
) -> RelayStatus:
    addresses = relay_endpoints(relay, server)
    seen = _sessions(relay, device, wall)
    transport = Transport.NONE
    if seen:
        is_carried = all(_is_carried(one, addresses) for one in seen)
        transport = Transport.WEBSOCKET if is_carried else Transport.UDP
    return RelayStatus(
        id=relay.id,
        addresses=addresses,
        reachable=bool(seen),
        transport=transport,
        latest_handshake=max((one.latest_handshake for one in seen), default=0.0),
        milliseconds=milliseconds,
        pairs=pairs,
    )


def _sessions(relay: Relay, device: ObservedDevice | None, wall: float) -> list[ObservedPeer]:
    """Those of WireGuard's sessions with the relay's vantage points that live."""
    if device is None:
        return []
    found = [device.peers.get(vantage.public_key) for vantage in relay.vantage_points]
    return [one for one in found if one is not None and wall - one.latest_handshake < REJECT_AFTER_TIME]


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

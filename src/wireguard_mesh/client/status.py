"""The status of this machine's mesh: what the agent knows, or what disk and device tell when no agent runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wireguard_mesh.core.exit_nodes import ExitDecision
from wireguard_mesh.model.devices import ObservedDevice, ObservedPeer
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.model.paths import PathReport
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.protocol.status import PeerStatus

IsAlive = Callable[[PublicKey], bool]
PathOf = Callable[[PublicKey], PathReport]


def _order(prefix: Prefix) -> tuple[int, int, int]:
    return (prefix.version, int(prefix.network_address), prefix.prefixlen)


def peer_statuses(
    network_map: NetworkMap | None,
    device: ObservedDevice | None,
    exit_node: ExitDecision,
    is_alive: IsAlive,
    path_of: PathOf,
) -> tuple[PeerStatus, ...]:
    """One for each peer of the map, by address."""
    if network_map is None:
        return ()
    peers = sorted(network_map.peers.values(), key=lambda peer: peer.ipv4)
    return tuple(_statuses(peers, device, exit_node, is_alive, path_of))


def _statuses(
    peers: list[Peer], device: ObservedDevice | None, exit_node: ExitDecision, is_alive: IsAlive, path_of: PathOf
) -> Iterator[PeerStatus]:
    for peer in peers:
        seen = device.peers.get(peer.public_key) if device else None
        standing = seen or ObservedPeer(public_key=peer.public_key)
        yield PeerStatus(
            id=peer.id,
            hostname=peer.hostname,
            os=peer.os,
            public_key=peer.public_key,
            ipv4=peer.ipv4,
            ipv6=peer.ipv6,
            online=peer.online,
            active=seen is not None and is_alive(peer.public_key),
            exit_node=peer.exit_node,
            exit_node_in_use=exit_node.routed and exit_node.key == peer.public_key,
            endpoint=standing.endpoint,
            allowed_ips=tuple(str(prefix) for prefix in sorted(standing.allowed_ips, key=_order)),
            latest_handshake=standing.latest_handshake,
            received_bytes=standing.received_bytes,
            sent_bytes=standing.sent_bytes,
            nat=peer.nat,
            path=path_of(peer.public_key),
        )

"""The status as `vpn-client -status` prints it: its fields are fixed, other programs read them."""

from __future__ import annotations

import msgspec

from wireguard_mesh.protocol.seed import rfc3339
from wireguard_mesh.protocol.status import PeerStatus, Status


class PlainPeer(msgspec.Struct, frozen=True, kw_only=True):
    """One peer of the device as `vpn-client -status` prints it. An empty endpoint: none known yet."""

    public_key: str
    endpoint: str
    allowed_ips: tuple[str, ...]
    last_handshake: str
    rx_bytes: int
    tx_bytes: int


class PlainInterface(msgspec.Struct, frozen=True, kw_only=True):
    """The device as `vpn-client -status` prints it."""

    name: str
    num_peers: int
    peers: tuple[PlainPeer, ...]


class PlainStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `vpn-client -status` prints: the fields are fixed, other programs read them."""

    peer_id: str
    assigned_ip: str
    network: str
    public_key: str
    interface: PlainInterface


def plain_status(status: Status) -> PlainStatus:
    """The full status in the plain form; only peers that the device has are in it."""
    peers = tuple(_plain_peer(peer) for peer in status.peers if peer.allowed_ips)
    return PlainStatus(
        peer_id=status.peer_id,
        assigned_ip=str(status.ipv4 or ""),
        network=str(status.network.ipv4) if status.network else "",
        public_key=status.public_key.to_base64(),
        interface=PlainInterface(name=status.interface, num_peers=len(peers), peers=peers),
    )


def _plain_peer(peer: PeerStatus) -> PlainPeer:
    return PlainPeer(
        public_key=peer.public_key.to_base64(),
        endpoint=str(peer.endpoint or ""),
        allowed_ips=peer.allowed_ips,
        last_handshake=rfc3339(peer.latest_handshake) if peer.latest_handshake else "",
        rx_bytes=peer.received_bytes,
        tx_bytes=peer.sent_bytes,
    )

"""From the network map and the user's settings to what device and host shall be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Final

import msgspec

from wireguard_mesh.core.exit_nodes import ExitDecision, ExitPolicy
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sessions import Session
from wireguard_mesh.model.devices import WantedDevice, WantedPeer
from wireguard_mesh.model.hosts import ExitRouting, Forwarding, WantedHost
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.model.peers import DEFAULT_ROUTES, NetworkMap, Peer

FWMARK: Final = 51820  # wg-quick's choice for mark and table alike, which administrators know
EXIT_TABLE: Final = 51820
DEFAULT_LISTEN_PORT: Final = 51820
DEFAULT_KEEPALIVE: Final = 25  # seconds; WireGuard's quick start: short enough for nearly every NAT
WIREGUARD_OVERHEAD: Final = 80  # bytes: IPv6 40, UDP 8, WireGuard 32, as wg-quick reckons
ETHERNET_MTU: Final = 1500
MIN_MTU: Final = 1280  # RFC 8200 section 5: IPv6 needs it
MAX_MTU: Final = 65535 - WIREGUARD_OVERHEAD
_FAMILIES: Final = frozenset({4, 6})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the user decided for this machine. `mtu` None: from the path. `keepalive` in seconds, 0 is off."""

    interface: InterfaceName
    private_key: PrivateKey
    listen_port: int = DEFAULT_LISTEN_PORT
    keepalive: int = DEFAULT_KEEPALIVE
    mtu: int | None = None
    offers_exit_node: bool = False
    exit_policy: ExitPolicy = ExitPolicy()


def tunnel_mtu(settings: Settings, link_mtu: int) -> int:
    """The tunnel's MTU in bytes on a path of `link_mtu`."""
    return settings.mtu or max(MIN_MTU, min(MAX_MTU, link_mtu - WIREGUARD_OVERHEAD))


def is_member(peer: Peer, session: Session, now: Instant) -> bool:
    """Whether the peer belongs into the device: it is online, or its tunnel lives or is being made anew, whatever the
    server says."""
    return peer.online or session.tunnel.alive(now) or session.tunnel.is_renewing(now)


def wanted_device(
    settings: Settings,
    network_map: NetworkMap,
    sessions: Mapping[PublicKey, Session],
    exit_node: ExitDecision,
    rendezvous: Mapping[PublicKey, WantedPeer],
    now: Instant,
) -> WantedDevice:
    """The device with each peer that belongs into it, and before them the relays' vantage points (`rendezvous`), which
    are no members of the mesh."""
    peers = dict(rendezvous) | wanted_peers(settings, network_map.peers.values(), sessions, exit_node, now)
    return WantedDevice(private_key=settings.private_key, listen_port=settings.listen_port, fwmark=FWMARK, peers=peers)


def wanted_peers(
    settings: Settings,
    peers: Iterable[Peer],
    sessions: Mapping[PublicKey, Session],
    exit_node: ExitDecision,
    now: Instant,
) -> dict[PublicKey, WantedPeer]:
    """Those of the peers that belong into the device. The exit node is kept though it is offline: a named one keeps
    the traffic."""
    wanted: dict[PublicKey, WantedPeer] = {}
    for peer in peers:
        key = peer.public_key
        session = sessions[key]
        if session.is_withheld(now):
            continue
        if is_member(peer, session, now) or key == exit_node.key:
            starts = session.starts(now)
            wanted[key] = WantedPeer(
                public_key=key,
                allowed_ips=_allowed_ips(peer, exit_node),
                # Without one, a user's packet starts no handshake either that would cross the peer's own.
                endpoint=session.endpoint() if starts else None,
                keepalive=settings.keepalive if starts else 0,
            )
    return wanted


def _allowed_ips(peer: Peer, exit_node: ExitDecision) -> frozenset[Prefix]:
    return peer.addresses.union(DEFAULT_ROUTES) if peer.public_key == exit_node.key else peer.addresses


def wanted_host(settings: Settings, network_map: NetworkMap, exit_node: ExitDecision, link_mtu: int) -> WantedHost:
    """Addresses with the mesh's prefixes, the routes to them, and the exit node's two sides."""
    network, me = network_map.network, network_map.me
    ranges = frozenset[IPv4Network | IPv6Network]({network.ipv4, network.ipv6})
    return WantedHost(
        interface=settings.interface,
        mtu=tunnel_mtu(settings, link_mtu),
        addresses=frozenset(
            {
                IPv4Interface((me.ipv4, network.ipv4.prefixlen)),
                IPv6Interface((me.ipv6, network.ipv6.prefixlen)),
            }
        ),
        routes=ranges,
        exit_routing=(ExitRouting(fwmark=FWMARK, table=EXIT_TABLE, families=_FAMILIES) if exit_node.routed else None),
        forwarding=Forwarding(sources=ranges) if settings.offers_exit_node else None,
    )

"""From what stands to what is wanted of a WireGuard device, with the least operations.

WireGuard's sessions live in its peers, so a peer whose key stays is changed in place and not made anew, unless that is
asked for (`resets`). `plan` is a pure function: planning again after the change was applied yields the empty change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from wireguard_mesh.core.probes import send
from wireguard_mesh.model.devices import (
    DeviceChange,
    ObservedDevice,
    ObservedPeer,
    PeerChange,
    WantedDevice,
    WantedPeer,
)
from wireguard_mesh.model.keys import NO_PRESHARED_KEY, PublicKey

WantedPeers = Mapping[PublicKey, WantedPeer]
ObservedPeers = Mapping[PublicKey, ObservedPeer]


def plan(wanted: WantedDevice, observed: ObservedDevice, resets: Collection[PublicKey] = ()) -> DeviceChange:
    """The change that turns `observed` into `wanted`. Linear in the number of peers.

    `resets`: peers to be made anew, so that WireGuard begins a handshake at once: they have no session, or one that
    can carry nothing (`core.renewals`).

    Order: first the peers that go, then those that stay, then the new ones. An allowed IP belongs to the last peer that
    claimed it, so one that moves needs no release first; `wanted` must give each prefix to one peer only.
    """
    return DeviceChange(
        private_key=wanted.private_key if wanted.private_key != observed.private_key else None,
        listen_port=wanted.listen_port if _port_differs(wanted, observed) else None,
        fwmark=wanted.fwmark if wanted.fwmark != observed.fwmark else None,
        peers=_with_resets(wanted.peers, observed.peers, resets),
    )


def _with_resets(wanted: WantedPeers, observed: ObservedPeers, resets: Collection[PublicKey]) -> tuple[PeerChange, ...]:
    gone = {key for key in resets if key in observed and key in wanted}
    if not gone:
        return _peer_changes(wanted, observed)
    standing = {key: peer for key, peer in observed.items() if key not in gone}
    return (*(PeerChange(public_key=key, remove=True) for key in gone), *_peer_changes(wanted, standing))


def peers_change(wanted: WantedPeers, observed: ObservedPeers) -> DeviceChange:
    """The change that turns these peers of a device into those, and leaves all others alone."""
    return DeviceChange(peers=_peer_changes(wanted, observed))


def _peer_changes(wanted: WantedPeers, observed: ObservedPeers) -> tuple[PeerChange, ...]:
    return (*_removals(wanted, observed), *_updates(wanted, observed), *_additions(wanted, observed))


def _port_differs(wanted: WantedDevice, observed: ObservedDevice) -> bool:
    # Port 0 asks for any port, so one that stands already serves.
    if wanted.listen_port == 0:
        return observed.listen_port == 0 and observed.private_key is None
    return wanted.listen_port != observed.listen_port


def _removals(wanted: WantedPeers, observed: ObservedPeers) -> Iterator[PeerChange]:
    for key in observed:
        if key not in wanted:
            yield PeerChange(public_key=key, remove=True)


def _updates(wanted: WantedPeers, observed: ObservedPeers) -> Iterator[PeerChange]:
    for key, peer in wanted.items():
        standing = observed.get(key)
        if standing is not None:
            change = _difference(peer, standing)
            if change is not None:
                yield change


def _difference(wanted: WantedPeer, standing: ObservedPeer) -> PeerChange | None:
    endpoint = wanted.endpoint if wanted.endpoint != standing.endpoint else None
    allowed_ips = wanted.allowed_ips if wanted.allowed_ips != standing.allowed_ips else None
    keepalive = wanted.keepalive if wanted.keepalive != standing.keepalive else None
    preshared_key = None
    if wanted.preshared_key != standing.preshared_key:
        preshared_key = wanted.preshared_key or NO_PRESHARED_KEY
    if endpoint is None and allowed_ips is None and keepalive is None and preshared_key is None:
        return None
    return PeerChange(
        public_key=wanted.public_key,
        endpoint=endpoint,
        allowed_ips=allowed_ips,
        keepalive=keepalive,
        preshared_key=preshared_key,
    )


def _additions(wanted: WantedPeers, observed: ObservedPeers) -> Iterator[PeerChange]:
    for key, peer in wanted.items():
        if key not in observed:
            yield PeerChange(
                public_key=key,
                create=True,
                endpoint=peer.endpoint,
                allowed_ips=peer.allowed_ips,
                keepalive=peer.keepalive,
                preshared_key=peer.preshared_key,
            )


def calls(wanted: WantedDevice, observed: ObservedDevice, keys: Iterable[PublicKey]) -> DeviceChange:
    """The change that sends each of these peers one packet at once, by the route that the system has for it now.

    WireGuard answers from the address at which a peer last reached it, for as long as a session lives, though the
    machine may have lost that address (`core.probes.send`). In the end all is as before. Peers that do not stand are
    left out: they are called as they are made.
    """
    changes: list[PeerChange] = []
    for key in keys:
        standing = observed.peers.get(key)
        if standing is not None and key in wanted.peers:
            peer = wanted.peers[key]
            changes += send(key, peer.endpoint or standing.endpoint, peer.keepalive)
    return DeviceChange(peers=tuple(changes))

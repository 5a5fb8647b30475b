"""The client's side of a map update: what it had, and what it was told, make what it has."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import PRIVATE_IPV4, ULA, MeshNetwork
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind

Holders = dict[IPv4Address | IPv6Address, PublicKey]


def apply(have: NetworkMap | None, update: MapUpdate, own: PublicKey) -> NetworkMap:
    """The map after `update`; `have` None: none yet. `own` is this machine's key: its record becomes `me`.

    Looks at what changes, not at what there is. Raises `InvalidValue` for an update that does not follow on `have`, or
    makes a map that would take traffic which is none of the mesh's: ask again without `since`.
    """
    if update.kind is UpdateKind.SNAPSHOT:
        if update.network is None:
            raise InvalidValue("a whole map lacks its network")
        _check_network(update.network)
        return _changed({}, {}, update, update.network, update.relays or (), own)
    if have is None or have.epoch != update.epoch or have.revision > update.revision:
        raise InvalidValue("the update does not follow on the map that stands", "ask for the whole map")
    if update.kind is UpdateKind.CURRENT and have.revision == update.revision:
        return have
    peers = {**have.peers, own: have.me}
    holders = dict(have.holders) or _holders(peers.values())
    relays = have.relays if update.relays is None else update.relays
    return _changed(peers, holders, update, have.network, relays, own)


def whole(network_map: NetworkMap) -> MapUpdate:
    """The update that makes this map out of nothing."""
    return MapUpdate(
        kind=UpdateKind.SNAPSHOT,
        epoch=network_map.epoch,
        revision=network_map.revision,
        network=network_map.network,
        upsert=(network_map.me, *network_map.peers.values()),
        relays=network_map.relays,
    )


def _changed(
    peers: dict[PublicKey, Peer],
    holders: Holders,
    update: MapUpdate,
    network: MeshNetwork,
    relays: tuple[Relay, ...],
    own: PublicKey,
) -> NetworkMap:
    # Removals first: a machine that left and came back has its old key and a new id.
    _remove(peers, holders, frozenset(update.remove))
    for peer in update.upsert:
        standing = peers.pop(peer.public_key, None)
        if standing is not None:
            _let_go(holders, standing)
        peers[peer.public_key] = peer
    for peer in update.upsert:
        _hold(holders, peer, network)
    me = peers.pop(own, None)
    if me is None:
        raise InvalidValue("the map lacks this machine itself")
    return NetworkMap(
        epoch=update.epoch,
        revision=update.revision,
        network=network,
        me=me,
        peers=peers,
        relays=relays,
        holders=holders,
    )


def _remove(peers: dict[PublicKey, Peer], holders: Holders, gone: frozenset[PeerId]) -> None:
    if gone:  # ids are not what the map is kept by, and machines seldom leave
        for peer in [peer for peer in peers.values() if peer.id in gone]:
            del peers[peer.public_key]
            _let_go(holders, peer)


def _holders(peers: Iterable[Peer]) -> Holders:
    return {address: peer.public_key for peer in peers for address in (peer.ipv4, peer.ipv6)}


def _let_go(holders: Holders, peer: Peer) -> None:
    for address in (peer.ipv4, peer.ipv6):
        if holders.get(address) == peer.public_key:
            del holders[address]


def _hold(holders: Holders, peer: Peer, network: MeshNetwork) -> None:
    """What a server may ask of this machine ends at the mesh's own, private range."""
    if peer.ipv4 not in network.ipv4 or peer.ipv6 not in network.ipv6:
        raise InvalidValue(f"{peer.id} has an address outside of {network.ipv4} or {network.ipv6}")
    for address in (peer.ipv4, peer.ipv6):
        if holders.setdefault(address, peer.public_key) != peer.public_key:
            raise InvalidValue(f"{peer.id} has an address that another one has too")


def _check_network(network: MeshNetwork) -> None:
    if not any(network.ipv4.subnet_of(private) for private in PRIVATE_IPV4):
        raise InvalidValue(f"the network {network.ipv4} is not private")
    if not network.ipv6.subnet_of(ULA):
        raise InvalidValue(f"the network {network.ipv6} is not within {ULA}")

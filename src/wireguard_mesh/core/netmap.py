"""The client's side of a map update: what it had, and what it was told, make what it has."""

from __future__ import annotations

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.networks import PRIVATE_IPV4, ULA, MeshNetwork
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind


def apply(have: NetworkMap | None, update: MapUpdate) -> NetworkMap:
    """The map after `update`; `have` None: none yet.

    Raises `InvalidValue` for an update that does not follow on `have`, or makes a map that would take traffic which is
    none of the mesh's: ask again without `since`.
    """
    made = _apply(have, update)
    if made is not have:
        _check(made)
    return made


def _apply(have: NetworkMap | None, update: MapUpdate) -> NetworkMap:
    if update.kind is UpdateKind.SNAPSHOT:
        if update.network is None or update.me is None:
            raise InvalidValue("a whole map lacks the network or its owner")
        return NetworkMap(
            epoch=update.epoch,
            revision=update.revision,
            network=update.network,
            me=update.me,
            peers={peer.public_key: peer for peer in update.upsert},
        )
    if have is None or have.epoch != update.epoch or have.revision > update.revision:
        raise InvalidValue("the update does not follow on the map that stands", "ask for the whole map")
    if update.kind is UpdateKind.CURRENT and have.revision == update.revision:
        return have
    gone = set(update.remove)
    peers = {key: peer for key, peer in have.peers.items() if peer.id not in gone}
    # After the removals: a machine that left and came back has its old key and a new id.
    peers.update((peer.public_key, peer) for peer in update.upsert)
    return NetworkMap(
        epoch=have.epoch,
        revision=update.revision,
        network=have.network,
        me=update.me or have.me,
        peers=peers,
    )


def _check(network_map: NetworkMap) -> None:
    """What a server may ask of this machine ends at the mesh's own, private range."""
    _check_network(network_map.network)
    network, me, peers = network_map.network, network_map.me, network_map.peers
    if me.public_key in peers:
        raise InvalidValue("this machine is among its own peers")
    taken: set[object] = set()
    for peer in (me, *peers.values()):
        if peer.ipv4 not in network.ipv4 or peer.ipv6 not in network.ipv6:
            raise InvalidValue(f"{peer.id} has an address outside of {network.ipv4} or {network.ipv6}")
        if peer.ipv4 in taken or peer.ipv6 in taken:
            raise InvalidValue(f"{peer.id} has an address that another one has too")
        taken.update((peer.ipv4, peer.ipv6))


def _check_network(network: MeshNetwork) -> None:
    if not any(network.ipv4.subnet_of(private) for private in PRIVATE_IPV4):
        raise InvalidValue(f"the network {network.ipv4} is not private")
    if not network.ipv6.subnet_of(ULA):
        raise InvalidValue(f"the network {network.ipv6} is not within {ULA}")

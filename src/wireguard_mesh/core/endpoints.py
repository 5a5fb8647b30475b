"""Endpoint candidates: which of our addresses to publish, and in which order to try those of a peer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix
from wireguard_mesh.model.paths import Candidate, CandidateKind
from wireguard_mesh.model.peers import Peer

_VIRTUAL_LINKS: Final = (
    "br-", "cali", "cilium", "cni", "docker", "flannel", "lxc", "lxd", "podman", "vboxnet", "veth", "virbr", "vmnet",
)  # fmt: skip
# RFC 1918, RFC 6598 (the inside of a carrier's NAT), RFC 3927, RFC 4193: the same address is a machine of each site.
_SITE_NETWORKS: Final = (
    IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"), IPv4Network("169.254.0.0/16"), IPv6Network("fc00::/7"),
)  # fmt: skip
_RANK: Final = {
    CandidateKind.LAN: 0,
    CandidateKind.IPV6: 1,
    CandidateKind.MAPPED: 2,
    CandidateKind.REFLEXIVE: 3,
    CandidateKind.SEEN: 3,
    CandidateKind.DOUBTFUL: 5,
}
_RANK_PUBLIC_HOST: Final = 1
_RANK_SITE_HOST: Final = 4


def is_virtual_link(name: InterfaceName) -> bool:
    """Whether a link of this name leads to containers or virtual machines of this host.

    Their address ranges are the same on many machines, so an address in one says little about who has it.
    """
    return name.startswith(_VIRTUAL_LINKS)


def published(local: Sequence[LocalAddress], port: int, limit: int) -> tuple[Endpoint, ...]:
    """The candidates of this machine, best first, at most `limit`; addresses of virtual links last."""
    ordered = sorted(local, key=lambda link: is_virtual_link(link.interface))
    return tuple(dict.fromkeys(Endpoint(link.address, port) for link in ordered))[:limit]


def leads_inside(address: Address, mesh: Collection[Prefix], local: Sequence[LocalAddress]) -> bool:
    """Whether what is sent there goes into the tunnel: it has an address of the mesh, whose ranges are `mesh`, and no
    link of ours has a narrower range that it is in. WireGuard pointed there would send to itself what it sends, each
    time a little larger."""
    around = next((prefix for prefix in mesh if address in prefix), None)
    if around is None:
        return False
    return not any(address in link.prefix and link.prefix.prefixlen > around.prefixlen for link in local)


class Surroundings:
    """What this machine's addresses say of others'. `mesh`: the ranges that are reached by the tunnel."""

    def __init__(self, local: Sequence[LocalAddress], own_port: int, mesh: Collection[Prefix] = ()) -> None:
        self._local = tuple(local)
        self._mesh = tuple(mesh)
        self._own = {link.address for link in local}
        self._families = {link.address.version for link in local}
        self._own_port = own_port

    def candidates(self, peer: Peer) -> tuple[Candidate, ...]:
        """Where a peer may be reached directly, in the order to try it: on a link of ours; what is reached from
        anywhere; what its router forwards; where relays hear it; other addresses of its site; at last the doubtful.

        What would reach this machine itself, or its own tunnel, is left out.
        """
        found: dict[Endpoint, Candidate] = {}
        for candidate in self._classified(peer):
            address = candidate.endpoint.address
            is_self = address in self._own and candidate.endpoint.port == self._own_port
            if not (is_self or address.is_loopback) and not self.leads_inside(candidate.endpoint):
                found.setdefault(candidate.endpoint, candidate)
        return tuple(sorted(found.values(), key=_rank))

    def leads_inside(self, endpoint: Endpoint) -> bool:
        """Whether what is sent there goes into the tunnel."""
        return leads_inside(endpoint.address, self._mesh, self._local)

    def _classified(self, peer: Peer) -> Iterator[Candidate]:
        for endpoint in peer.endpoints:
            yield Candidate(endpoint, self._kind(endpoint.address, CandidateKind.HOST))
        for endpoint in peer.mapped:
            yield Candidate(endpoint, self._kind(endpoint.address, CandidateKind.MAPPED))
        for endpoint in peer.reflexive:
            yield Candidate(endpoint, self._kind(endpoint.address, CandidateKind.REFLEXIVE))

    def _kind(self, address: Address, otherwise: CandidateKind) -> CandidateKind:
        is_foreign = bool(self._families) and address.version not in self._families
        if is_foreign or (address in self._own and otherwise is CandidateKind.HOST):
            return CandidateKind.DOUBTFUL
        if otherwise is not CandidateKind.HOST:
            return otherwise
        near = [link for link in self._local if address in link.prefix]
        if any(not is_virtual_link(link.interface) for link in near):
            return CandidateKind.LAN
        if near:
            return CandidateKind.DOUBTFUL
        return CandidateKind.IPV6 if address.version == 6 and not is_of_site(address) else CandidateKind.HOST


def is_of_site(address: Address) -> bool:
    """Whether an address means something within one site only."""
    return any(address in network for network in _SITE_NETWORKS if network.version == address.version)


def is_unlikely(candidate: Candidate) -> bool:
    """Whether it is doubtful, or an address of another site."""
    return _rank(candidate) >= _RANK_SITE_HOST


def _rank(candidate: Candidate) -> int:
    if candidate.kind is CandidateKind.HOST:
        return _RANK_SITE_HOST if is_of_site(candidate.endpoint.address) else _RANK_PUBLIC_HOST
    return _RANK[candidate.kind]

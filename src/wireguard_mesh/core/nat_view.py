"""From where relays hear each peer, and what that says of the NAT before it (RFC 4787, section 4.1).

All vantage points count together, whichever relays they belong to: a peer that all of them hear from one endpoint has
one mapping for all destinations.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import NatClass, RelayId
from wireguard_mesh.protocol.relay_api import Observation

MAX_REFLEXIVE: Final = 4  # candidates of one peer: of a hard NAT no more would help

_Place = tuple[RelayId, int]


class NatView:
    """What relays said last, by peer and vantage point; bounded by the peers and relays that there are."""

    def __init__(self) -> None:
        self._seen: dict[PublicKey, dict[_Place, Observation]] = {}

    def __contains__(self, key: PublicKey) -> bool:
        return key in self._seen

    def observe(self, relay: RelayId, observation: Observation) -> bool:
        """Whether that is news. The newest of a peer is kept last."""
        place = (relay, observation.vantage)
        seen = self._seen.setdefault(observation.public_key, {})
        if seen.get(place) == observation:
            return False
        seen.pop(place, None)
        if observation.endpoint is not None or observation.over_web:
            seen[place] = observation
        if not seen:
            del self._seen[observation.public_key]
        return True

    def forget(self, key: PublicKey) -> None:
        """The peer left."""
        self._seen.pop(key, None)

    def keep_relays(self, relays: Container[RelayId]) -> None:
        """There are these only; what the others said counts no more. Looks at everything."""
        for key, seen in list(self._seen.items()):
            for place in [place for place in seen if place[0] not in relays]:
                del seen[place]
            if not seen:
                del self._seen[key]

    def of(self, peer: Peer) -> tuple[tuple[Endpoint, ...], NatClass]:
        """The peer's reflexive endpoints, the newest first, and its NAT's class."""
        seen = self._seen.get(peer.public_key, {})
        heard = [one.endpoint for one in reversed(seen.values()) if one.endpoint is not None]
        reflexive = tuple(dict.fromkeys(heard))[:MAX_REFLEXIVE]
        if reflexive:
            return reflexive, _class_of(peer, heard)
        return (), NatClass.BLOCKED if seen else NatClass.UNKNOWN


def _class_of(peer: Peer, heard: Sequence[Endpoint]) -> NatClass:
    # NATs are where IPv4 is; a peer without it is judged by IPv6.
    versions = {endpoint.address.version for endpoint in heard}
    judged = [endpoint for endpoint in heard if endpoint.address.version == min(versions)]
    if all(endpoint in peer.endpoints for endpoint in judged):
        return NatClass.PUBLIC
    if len(judged) == 1:  # one vantage point cannot tell
        return peer.nat if peer.nat is NatClass.EASY and judged[0] in peer.reflexive else NatClass.UNKNOWN
    return NatClass.EASY if len(set(judged)) == 1 else NatClass.HARD

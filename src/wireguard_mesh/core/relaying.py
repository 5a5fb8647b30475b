"""What the relays of a mesh can do for each of its pairs, at one moment."""

from __future__ import annotations

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.paths import RelayWay
from wireguard_mesh.core.relay_choice import RelayChoice
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import RelayId


class PairRelays:
    """For the pair of this machine and one peer. See `core.paths.Relaying`."""

    __slots__ = ("_me", "_now", "_peer", "_relays", "_ways")

    def __init__(self, relays: RelayChoice, ways: dict[RelayId, Endpoint], me: Peer, peer: Peer, now: Instant) -> None:
        """`ways`: those of `relays` now, asked for once for all pairs."""
        self._relays = relays
        self._ways = ways
        self._me = me
        self._peer = peer
        self._now = now

    def at(self, endpoint: Endpoint) -> RelayId | None:
        """See `Relaying.at`."""
        return self._relays.relay_at(endpoint)

    def works(self, relay: RelayId) -> bool:
        """See `Relaying.works`."""
        return relay in self._ways

    def choice(self) -> RelayWay | None:
        """See `Relaying.choice`."""
        return self._relays.to(self._me, self._peer, self._now) if self._ways else None

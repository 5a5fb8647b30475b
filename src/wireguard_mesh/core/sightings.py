"""What a relay sees of peers and has yet to tell the server: of each peer at each vantage point the newest."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.relay_api import MAX_OBSERVATIONS, Observation

_Place = tuple[PublicKey, int]


class Sightings:
    """Bounded by the peers that are registered: what is seen of others, or of those that left, is dropped."""

    def __init__(self) -> None:
        self._registered: frozenset[PublicKey] = frozenset()
        self._newest: dict[_Place, Observation] = {}
        self._untold: dict[_Place, Observation] = {}

    @property
    def has_news(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._untold)

    def registered(self, keys: Collection[PublicKey]) -> None:
        """These are the peers now."""
        self._registered = frozenset(keys)
        for seen in (self._newest, self._untold):
            for place in [place for place in seen if place[0] not in self._registered]:
                del seen[place]

    def observe(self, observation: Observation) -> None:
        """A vantage point sees a peer, or not any more."""
        place = (observation.public_key, observation.vantage)
        if observation.public_key not in self._registered or self._newest.get(place) == observation:
            return
        self._newest[place] = self._untold[place] = observation

    def next(self) -> tuple[Observation, ...]:
        """What to tell with one heartbeat, those first that wait longest."""
        return tuple(islice(self._untold.values(), MAX_OBSERVATIONS))

    def told(self, observations: Collection[Observation]) -> None:
        """The server knows these."""
        for observation in observations:
            place = (observation.public_key, observation.vantage)
            if self._untold.get(place) == observation:
                del self._untold[place]

    def repeat(self) -> None:
        """The server has forgotten all: what is seen is to be told again."""
        self._untold = dict(self._newest)

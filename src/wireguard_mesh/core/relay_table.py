"""The relays of a mesh while a batch of commands is decided."""

from __future__ import annotations

from collections.abc import Collection

from wireguard_mesh.core.commands import DropRelay, PutRelay
from wireguard_mesh.model.errors import Conflict, Exhausted, NotFound
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import MAX_RELAYS, Relay, RelayId


class RelayTable:
    """Relays by their names; no key is in use twice, not by a peer either."""

    def __init__(self, base: tuple[Relay, ...]) -> None:
        self._base = {relay.id: relay for relay in base}
        self._relays = dict(self._base)

    def put(self, command: PutRelay, peers: Collection[PublicKey]) -> Relay:
        """Raises `Conflict` for a name or a key that is another's, `Exhausted` if there are too many."""
        relay = command.relay
        keys = {point.public_key for point in relay.vantage_points}
        if not keys or len(keys) < len(relay.vantage_points):
            raise Conflict("each vantage point of a relay needs a key of its own", "make the relay's key anew")
        if any(key in peers for key in keys):
            raise Conflict("the key of this relay is that of a peer", "make the relay's key anew")
        standing = self._relays.get(relay.id)
        if standing is not None and standing.public_key != relay.public_key and not command.by_force:
            raise Conflict(f"there is another relay {relay.id}", "give this one another name")
        others = {name: other for name, other in self._relays.items() if name != relay.id}
        twins = [name for name, other in others.items() if other.public_key == relay.public_key]
        for name in twins:
            del others[name]
        if any(point.public_key in keys for other in others.values() for point in other.vantage_points):
            raise Conflict("the key of this relay is another relay's", "make the relay's key anew")
        if len(others) >= MAX_RELAYS:
            raise Exhausted(f"the mesh has {MAX_RELAYS} relays already", "stop one that is needed less")
        if twins or standing != relay:
            self._relays = others | {relay.id: relay}
        return relay

    def drop(self, command: DropRelay) -> Relay:
        """Raises `NotFound`."""
        relay = self._relays.pop(command.id, None)
        if relay is None:
            raise NotFound(f"there is no relay {command.id}", "register it again")
        return relay

    def refuse_key(self, key: PublicKey) -> None:
        """Raises `Conflict` if a key that wants to be a peer is a relay's."""
        if any(point.public_key == key for relay in self._relays.values() for point in relay.vantage_points):
            raise Conflict("this key is that of a relay", "make another one")

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write, and to tell."""
        return self._relays != self._base

    def all(self) -> tuple[Relay, ...]:
        """As they are now, by name."""
        return tuple(self._relays[name] for name in sorted(self._relays))

    def added(self) -> tuple[Relay, ...]:
        """Those that are new or changed."""
        return tuple(relay for relay in self.all() if self._base.get(relay.id) != relay)

    def dropped(self) -> tuple[RelayId, ...]:
        """Those that are gone."""
        return tuple(name for name in self._base if name not in self._relays)

"""What this machine has of the map: which it is, when it was known to be the newest, how far the server is ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from wireguard_mesh.core import netmap
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion, NetworkMap
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind


class Versioned(Protocol):
    """What is made of updates, and says of which."""

    @property
    def version(self) -> MapVersion:
        """Of the last update in it."""
        ...


V = TypeVar("V", bound=Versioned)


class Known(Generic[V]):
    """The one place that it is kept in. `make` makes of what was, and of an update, what is; it raises `InvalidValue`
    for one that does not fit. `last`: what an earlier run had.

    `current_at`: when it was last known to be the server's newest; None: not since the start.
    `behind_since`: since when the server is known to have a newer one, None if it has not.
    """

    def __init__(self, make: Callable[[V | None, MapUpdate], V], last: V | None = None) -> None:
        self.map = last
        self.current_at: Instant | None = None
        self.behind_since: Instant | None = None
        self.head: MapVersion | None = None
        self._make = make
        self._is_doubted = False

    @property
    def since(self) -> MapVersion | None:
        """What to ask for changes since; None: for the whole map."""
        return None if self.map is None or self._is_doubted else self.map.version

    @property
    def lag(self) -> int | None:
        """How many revisions the server is ahead. None: not known, or it counts in another epoch."""
        if self.map is None or self.head is None:
            return None
        version = self.map.version
        return max(0, self.head.revision - version.revision) if self.head.epoch == version.epoch else None

    def take(self, update: MapUpdate, since: MapVersion | None, now: Instant) -> V:
        """What the server said to one who had `since`: that is the map now, and it is the newest.

        Two ways of asking may be under way at once, so answers may come late. A change whose end is older than what is
        known is passed over. Raises `InvalidValue` for one that does not fit; then the whole map is asked for.
        """
        have = None if self._is_doubted else self.map
        is_change = update.kind is not UpdateKind.SNAPSHOT
        if have is not None and is_change and _is_older(update.version, have.version):
            return have
        try:
            if is_change and (have is None or since is None or _is_older(have.version, since)):
                raise InvalidValue("the change follows on another map", "ask for the whole map")
            made = self._make(have, update)
        except InvalidValue:
            self._is_doubted = True
            raise
        self.map = made
        self._is_doubted = False
        if self.head is None or self.head.epoch != made.version.epoch or _is_older(self.head, made.version):
            self.head = made.version
        self._compare(now)
        self.confirm(now)
        return made

    def confirm(self, now: Instant) -> None:
        """The server would have said so if there were anything new."""
        if self.behind_since is None:
            self.current_at = now

    def head_is(self, version: MapVersion, now: Instant) -> bool:
        """This is the server's newest. True if this machine has an older one."""
        self.head = version
        self._compare(now)
        return self.behind_since is not None

    def doubt(self) -> None:
        """Nothing is to be built on what is known: ask for the whole map."""
        self._is_doubted = True

    def _compare(self, now: Instant) -> None:
        if self.lag == 0:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = now


class KnownMap(Known[NetworkMap]):
    """The map of a peer. `own` is this machine's key."""

    def __init__(self, own: PublicKey, last: NetworkMap | None = None) -> None:
        super().__init__(lambda have, update: netmap.apply(have, update, own), last)


def _is_older(one: MapVersion, other: MapVersion) -> bool:
    return one.epoch == other.epoch and one.revision < other.revision

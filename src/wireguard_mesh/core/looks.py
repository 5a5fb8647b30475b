"""When to read the device: as soon as something is expected of it, and no oftener than what a look costs allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sessions import Session
from wireguard_mesh.core.wanted import is_member
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import NetworkMap

IDLE_LOOK: Final = 15.0  # seconds between two looks at a device of which nothing is expected
RELAY_IDLE_LOOK: Final = 5.0  # the same where a path that died can be left for a relay
CALL_GAP: Final = 0.5  # seconds between two rounds of packets that tell peers where this machine is now
LOOK_COST: Final = 0.01  # seconds for each peer between two looks that nothing hurries: at 1,000 peers 0.3 % of a core
HURRIED_COST: Final = 0.0005  # the same for looks that something hurries: so they take 6 % of a core at most


class Looks:
    """The device's last look, and the next one. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.must_look = True
        """Whether something changed that only a look tells the consequences of."""
        self._looked = float("-inf")
        self._look_at: float | None = None  # once it is reckoned
        self._next_call = float("-inf")
        self._has_calls = False

    def looked(self, now: Instant) -> None:
        """The device was read."""
        self._looked = now.monotonic
        self._look_at = None

    def changed(self) -> None:
        """What was reckoned does not hold."""
        self._look_at = None

    def hasten(self, moment: float) -> None:
        """A look is due at that moment at the latest."""
        if self._look_at is not None:
            self._look_at = min(self._look_at, moment)

    def may_call(self, now: Instant, *, has_calls: bool) -> bool:
        """Whether packets that are to be sent may go out now."""
        self._has_calls = has_calls
        return now.monotonic >= self._next_call

    def called(self, now: Instant, *, has_calls: bool) -> None:
        """They went out; more of them are due already."""
        self._has_calls = has_calls
        self._next_call = now.monotonic + CALL_GAP

    def next(
        self, network_map: NetworkMap | None, sessions: Mapping[PublicKey, Session], relays_at: float, now: Instant
    ) -> float:
        """When to look again. `relays_at`: when the relays ask for it."""
        if self._look_at is None:
            self._look_at = self._reckon(network_map, sessions, relays_at, now)
        look = min(self._look_at, now.monotonic) if self.must_look and network_map is not None else self._look_at
        return max(look, self._looked + HURRIED_COST * len(sessions))

    def _reckon(
        self, network_map: NetworkMap | None, sessions: Mapping[PublicKey, Session], relays_at: float, now: Instant
    ) -> float:
        idle = RELAY_IDLE_LOOK if network_map is not None and network_map.relays else IDLE_LOOK
        later = now.monotonic + idle
        soon = min(later, relays_at)
        if self._has_calls:
            soon = min(soon, max(now.monotonic, self._next_call))
        if network_map is not None:
            for key, session in sessions.items():
                if is_member(network_map.peers[key], session, now):
                    soon = min(soon, session.look_at(now))
                    later = min(later, session.change_at(now))
        # Nothing that lasts for seconds is worth more than one look in a while at a device of many peers.
        return min(soon, max(later, self._looked + LOOK_COST * len(sessions)))

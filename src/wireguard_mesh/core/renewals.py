"""When a tunnel that cannot be carrying anything is made anew: the one exception to "never removed and made again".

A relay forwards the packets of sessions whose handshakes passed it, and of no other (`core.forwarding_routes`). A pair
that must leave a dead relay for another, or a dead direct path for a relay, so finds one there that does not know its
session, and WireGuard by itself shakes hands only when data was without an answer for 15 seconds (paper, sections 6.2
and 6.5). A peer that is removed and made again in one change, with its keepalive, has WireGuard shake hands at once,
and by that the other end follows.

What that throws away must be worth nothing, so there has to be proof that nothing flows: the relay is dead; keepalives
are missing; or data is unanswered for longer than WireGuard needs to answer it, which it does though nobody listens.
And nothing may have come since the path was changed. Only one end does it, lest two handshakes cross; the other one
only if nothing came of that. A handshake that passed the new relay already makes it needless.
"""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.tunnels import KEEPALIVE_TIMEOUT, REKEY_TIMEOUT, Tunnel
from wireguard_mesh.model.relays import RelayId

SETTLE: Final = 0.3  # seconds after the change in which the tunnel may show that it lives: longer than most round trips
FOLLOW: Final = 1.5  # the same for the end that leaves it to the other: that one's relay may be found dead later
PROOF: Final = KEEPALIVE_TIMEOUT + 1.0  # seconds that data is unanswered; what is over is for the way there and back
CALM: Final = 600.0  # seconds after which the next time is as good as the first
_DOUBLINGS: Final = 7  # of REKEY_TIMEOUT between two times: ten minutes
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class Renewals:
    """Those of one peer. All times are monotonic seconds."""

    __slots__ = ("_changed_at", "_count", "_is_elected", "_is_proven", "_last", "_made_at", "_relay", "is_due")

    def __init__(self, *, is_elected: bool) -> None:
        """`is_elected`: of the two ends this is the one that acts first."""
        self.is_due = False
        """Whether the peer is to be removed and made again now."""
        self._is_elected = is_elected
        self._changed_at: float | None = None
        self._is_proven = False
        self._count = 0
        self._last = _NEVER
        self._made_at = _NEVER
        self._relay: RelayId | None = None

    def seen(self, relay: RelayId | None, tunnel: Tunnel) -> None:
        """WireGuard sends by that relay, or directly (None). To be told at each look."""
        if tunnel.handshake_at != self._made_at:
            self._made_at, self._relay = tunnel.handshake_at, relay

    def knows(self, relay: RelayId) -> bool:
        """Whether the session was made by that relay."""
        return relay == self._relay

    def left(self, relay: RelayId, now: Instant, *, is_proven: bool) -> None:
        """The path is changed to that relay, since the one that was seems dead; `is_proven`: it is."""
        if self.knows(relay):
            self.stop()
        else:
            self._changed_at, self._is_proven = now.monotonic, is_proven

    def stop(self) -> None:
        """The tunnel lives on, or is no more."""
        self._changed_at, self.is_due = None, False

    def consider(self, tunnel: Tunnel, now: Instant) -> None:
        """The path is by the relay that was chosen, and the tunnel was looked at."""
        if self._changed_at is None:
            return
        if tunnel.heard_since(self._changed_at):
            self.stop()
            return
        if now.monotonic < self.due_at(tunnel):
            return
        self._count = 1 if now.monotonic >= self._last + CALM else self._count + 1
        self._last = now.monotonic
        self._changed_at, self.is_due = None, True

    def due_at(self, tunnel: Tunnel) -> float:
        """When it will be time, if nothing comes."""
        if self._changed_at is None:
            return _FOREVER
        proven_at = self._changed_at if self._is_proven else tunnel.unanswered_at + PROOF
        pause = REKEY_TIMEOUT * 2.0 ** min(_DOUBLINGS, self._count - 1) if self._count else 0.0
        settled_at = self._changed_at + SETTLE
        return max(proven_at, settled_at, self._last + pause) + (0.0 if self._is_elected else FOLLOW - SETTLE)

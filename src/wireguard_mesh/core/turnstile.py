"""Which initiations a relay looks at while strangers send more than it could: decided in a microsecond, by the source.

Whoever knows a relay's public key can make initiations with a right mac1, under any address. Each that is looked at
costs as much as a hundred that are not, so above a rate that no mesh needs only some are. Of strangers: each source
once while it has no cookie, so that a newcomer has its turn as soon as a flood's sources had theirs; and with one
(a mac2 that is to be verified) once in a time that is less than WireGuard's between two tries. From where peers are
known to be: as many as a mesh needs, and then some of each. Flood or not, these do not wait for strangers.

Sources are known here by a number of 64 bits that nobody outside can foretell, as `hash` makes it (SipHash with a
secret key of the process, PEP 456). So memory is bounded, and sources that meet by chance part in the next period.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wireguard_mesh.core.forwarding_peers import Bucket
from wireguard_mesh.core.rendezvous_gate import UNDER_LOAD_AFTER
from wireguard_mesh.protocol.pings import PING, PING_SIZE
from wireguard_mesh.protocol.wireguard import INITIATION_SIZE, KEEPALIVE_SIZE, MessageType

WINDOW: Final = 0.1  # seconds for which so many may enter
SERVED_SECONDS: Final = 60.0  # half a cookie's life; 30,000 sources have their turn in it
TRIED_SECONDS: Final = 4.0  # less than Rekey-Timeout, 5 s
_SLOT_BITS: Final = 18
_SLOTS: Final = 1 << _SLOT_BITS
_MASK: Final = _SLOTS - 1
_SHIFTS: Final = 64 - 2 * _SLOT_BITS


HEARD_OF_STRANGERS: Final = frozenset(
    {(MessageType.INITIATION.value, INITIATION_SIZE), (MessageType.TRANSPORT.value, KEEPALIVE_SIZE), (PING, PING_SIZE)}
)
"""Type and size of what a relay can have a use for though nobody is known to be at its source."""


class TurnstileLimits(msgspec.Struct, frozen=True):
    """Initiations a second at one vantage point.

    `calm`, `calm_burst`: of strangers, above it there is a flood. In a flood `without_cookie`, each of which may be
    answered by a cookie reply (60 µs), and `with_cookie` (20 µs): together 7 % of a core. `known`: from where peers
    are, as fast as one that joins can call all others; above it `known_more`, of which `known_each` from one source.
    """

    calm: float = 4000.0
    calm_burst: float = 2000.0
    without_cookie: float = 500.0
    with_cookie: float = 2000.0
    known: float = 10_000.0
    known_each: float = 200.0
    known_more: float = 5000.0


class _Seen:
    """Sources that had their turn in this period: a Bloom filter with two bits of each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = 0.0
        self._shift = 0
        self._slots = bytearray(_SLOTS)

    def turn(self, moment: float) -> None:
        """It is `moment`: a new period, if the last one is over."""
        if moment >= self._ends:
            self._ends = moment + self._seconds
            self._shift = (self._shift + 1) % _SHIFTS
            self._slots = bytearray(_SLOTS)

    def is_first(self, source: int) -> bool:
        """Whether it has not had its turn; now it has. Of 10,000 that are first, 50 are mistaken for others."""
        slots, shifted = self._slots, source >> self._shift
        one, other = shifted & _MASK, shifted >> _SLOT_BITS & _MASK
        if slots[one] and slots[other]:
            return False
        slots[one] = slots[other] = 1
        return True


class Turnstile:
    """One for each vantage point. `turn` says the time before each batch."""

    def __init__(self, limits: TurnstileLimits | None = None) -> None:
        self._limits = limits or TurnstileLimits()
        self._calm = Bucket(self._limits.calm_burst, self._limits.calm)
        self._moment = 0.0
        self._flood_until = 0.0
        self._window_ends = 0.0
        self._served = _Seen(SERVED_SECONDS)
        self._tried = _Seen(TRIED_SECONDS)
        self._open()
        self.is_flooded = False
        """Whether strangers send more than is looked at."""
        self.shed = 0
        """Initiations that were not looked at."""
        self.ignored = 0
        """Other datagrams from where nobody is that can have been of no use."""

    def turn(self, moment: float) -> None:
        """It is `moment`, in monotonic seconds."""
        self._moment = moment
        if moment < self._window_ends:
            return
        if self._strangers > self._limits.calm * WINDOW:
            self._flood_until = moment + UNDER_LOAD_AFTER
        self.is_flooded = moment < self._flood_until
        self._window_ends = moment + WINDOW
        self._open()
        self._served.turn(moment)
        self._tried.turn(moment)

    def admits(self, source: int, *, has_cookie: bool) -> bool:
        """Whether to look at an initiation of a stranger. `has_cookie`: its mac2 is not empty."""
        self._strangers += 1
        if not self.is_flooded:
            if self._calm.take(1, self._moment):
                return True
            self.is_flooded = True
            self._flood_until = self._moment + UNDER_LOAD_AFTER
        if has_cookie:
            if self._with_cookie >= 1 and self._tried.is_first(source):
                self._with_cookie -= 1
                return True
        elif self._without_cookie >= 1 and self._served.is_first(source):
            self._without_cookie -= 1
            return True
        self.shed += 1
        return False

    def admits_known(self, source: int) -> bool:
        """Whether to look at an initiation from where some peer is."""
        if self._known >= 1:
            self._known -= 1
            return True
        of_this = self._known_of.get(source, 0)
        if self._known_more >= 1 and of_this < self._limits.known_each * WINDOW:
            self._known_more -= 1
            self._known_of[source] = of_this + 1
            return True
        self.shed += 1
        return False

    def _open(self) -> None:
        limits = self._limits
        self._strangers = 0
        self._without_cookie = limits.without_cookie * WINDOW
        self._with_cookie = limits.with_cookie * WINDOW
        self._known = limits.known * WINDOW
        self._known_more = limits.known_more * WINDOW
        self._known_of: dict[int, int] = {}

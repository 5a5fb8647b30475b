"""One vantage point of a relay as this machine knows it: where it is asked, whether it answers, how far it is.

It is a WireGuard peer without allowed IPs, so what proves it is WireGuard's handshake. That takes two minutes to fail,
so where it matters pings ask in between. A handshake that does not come is helped along: WireGuard itself repeats it
after five seconds only, and a first one may come before the relay has heard of this machine.
"""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.tunnels import REJECT_AFTER_TIME, REKEY_TIMEOUT
from wireguard_mesh.model.devices import ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey

MISSES: Final = 3  # pings in a row without an answer after which a vantage point counts as dead
# Seconds after which an unanswered handshake is begun anew, at the next address if there are several. The first is for
# the relay that had not heard of us yet; both leave time for a round trip.
RETRIES: Final = (0.3, 1.0)
TRUST: Final = 2.5  # seconds that a session is believed to stand while it is made anew
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class Vantage:
    """All times are monotonic seconds."""

    __slots__ = (
        "_handshake", "_handshake_at", "_is_first_look", "_position", "_tries", "_trusted_until", "asked_at",
        "candidates", "is_carried", "mapped", "missed_at", "misses", "pinged_at", "pong_at", "public_key", "reset_due",
        "seconds", "was_carried",
    )  # fmt: skip

    def __init__(self, public_key: PublicKey, candidates: tuple[Endpoint, ...]) -> None:
        self.public_key = public_key
        self.candidates = candidates
        self._position = 0
        self._handshake = 0.0
        self._handshake_at = _NEVER
        self._is_first_look = True
        self._trusted_until = _NEVER
        self._tries = 0
        self.asked_at: float | None = None
        """Since when a handshake is awaited; None: it came, or the device does not have this peer yet."""
        self.is_carried = False
        """Whether the last handshake came by a carrier, so that it says nothing of UDP."""
        self.was_carried = False
        """Whether a program that has ended had a carrier to it, and nothing was heard by UDP since."""
        self.reset_due = False
        """Whether the peer is to be removed and made again, which begins a handshake at once."""
        self.misses = 0
        self.missed_at = _NEVER
        self.pinged_at = _NEVER
        self.pong_at = _NEVER
        self.seconds: float | None = None
        """The last round trip."""
        self.mapped: Endpoint | None = None
        """From where it was asked last, as seen there."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it is asked by UDP now; None: the address is not known."""
        return self.candidates[self._position] if self.candidates else None

    @property
    def is_dead(self) -> bool:
        """Whether pings remained without an answer."""
        return self.misses >= MISSES

    @property
    def handshake_at(self) -> float:
        """When the last handshake came."""
        return self._handshake_at

    def offer(self, candidates: tuple[Endpoint, ...]) -> None:
        """It may be asked at these, best first. One at which it is asked now, and that is among them, is kept to."""
        before, self.candidates = self.endpoint, candidates
        if before in candidates:
            self._position = candidates.index(before)
        else:
            self._position = 0
            self.restart()

    def restart(self) -> None:
        """Begin a handshake now: the way to it is another."""
        self.reset_due = True
        self.asked_at = None
        self._tries = 0
        self.misses = 0
        self.pinged_at = _NEVER

    def moved(self) -> None:
        """This machine's network is another."""
        self._position = 0
        self.seconds = None
        self.was_carried = False
        self.restart()

    def observe(self, seen: ObservedPeer | None, now: Instant) -> None:
        """What the device says of it; None: it does not have it."""
        if seen is None:
            self._handshake, self._handshake_at, self.asked_at = 0.0, _NEVER, None
            return
        was_first_look, self._is_first_look = self._is_first_look, False
        if seen.latest_handshake != self._handshake:
            self._note_handshake(seen, now, is_adopted=was_first_look)
        if self.answers(now) and not self.reset_due:
            self.asked_at = None
            self._tries = 0
        elif self.asked_at is None:
            self.asked_at = now.monotonic
        self._help_along(now.monotonic)

    def _note_handshake(self, seen: ObservedPeer, now: Instant, *, is_adopted: bool) -> None:
        is_by_udp = not _is_here(seen.endpoint) or seen.endpoint in self.candidates
        if not seen.latest_handshake:  # it was made anew
            is_lost = self.is_carried or not self.answers(now)
            self._trusted_until = _NEVER if is_lost else now.monotonic + TRUST
            self._handshake_at = _NEVER
            self.is_carried = False
        elif is_adopted and not is_by_udp:
            self.was_carried = True  # a session by the carrier of a program that has ended is none
        else:
            # The wall clock, which may be wrong or jump, is asked for the age of a session only that stood before us.
            age = max(0.0, now.wall - seen.latest_handshake) if is_adopted else 0.0
            self._handshake_at = now.monotonic - age
            self.is_carried = not is_by_udp
            self.was_carried = self.was_carried and not is_by_udp
            self.misses = 0
        self._handshake = seen.latest_handshake

    def _help_along(self, now: float) -> None:
        if self.asked_at is None or now < self.retry_at():
            return
        self._tries += 1
        if self._tries > 1 and self.candidates:
            self._position = (self._position + 1) % len(self.candidates)
        self.reset_due = True

    def retry_at(self) -> float:
        """When a handshake that is awaited is begun anew, by us and not by WireGuard."""
        if self.asked_at is None:
            return _FOREVER
        if self._tries < len(RETRIES):
            return self.asked_at + RETRIES[self._tries]
        if len(self.candidates) < 2:
            return _FOREVER
        return self.asked_at + REKEY_TIMEOUT * (self._tries - len(RETRIES) + 1)

    def answers(self, now: Instant) -> bool:
        """Whether a session stands, as far as is known."""
        return not self.is_dead and now.monotonic - self._handshake_at < REJECT_AFTER_TIME

    def works(self, now: Instant) -> bool:
        """The same, but that a session that is being made anew is believed to come."""
        return self.answers(now) or (not self.is_dead and now.monotonic < self._trusted_until)

    def expires_at(self) -> float:
        """When it no longer answers, if nothing comes."""
        return max(self._handshake_at + REJECT_AFTER_TIME, self._trusted_until)

    def ponged(self, seconds: float, mapped: Endpoint, now: Instant) -> None:
        """It answered a ping."""
        if self.is_dead:
            self.restart()  # it may be another process, which knows nothing of our session
        self.misses = 0
        self.pong_at = now.monotonic
        self.seconds = seconds
        self.mapped = mapped

    def missed(self, now: Instant) -> None:
        """It did not answer a ping."""
        if not self.misses:
            self.missed_at = now.monotonic
        self.misses += 1


def _is_here(endpoint: Endpoint | None) -> bool:
    """Whether that is this machine itself: a carrier, unless the relay is here too."""
    return endpoint is not None and endpoint.address.is_loopback

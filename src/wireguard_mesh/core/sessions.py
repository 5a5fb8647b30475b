"""One machine per peer: whether its tunnel lives, where to send the next handshake, and who starts it.

What WireGuard does by itself is left to it. It repeats an unanswered handshake every `REKEY_TIMEOUT` for
`REKEY_ATTEMPT_TIME`, and follows a peer that roams. This machine only gives it the next address to try as long as none
answers, and sees to it that of two peers one starts: when both start at once over a long round trip, each throws away
the other's answer, and the first handshake takes many seconds.

Who starts: the one that learns of the other in its first map, the newcomer, after `CALL_AFTER`, by when those that
were there have heard of it and can answer: behind a NAT its own attempt is the only one that can arrive, and a lost one
costs `REKEY_TIMEOUT`. The one that was there already waits `FOLLOW_AFTER`, should the newcomer's attempt have been
lost. What makes WireGuard start is the persistent keepalive, when it changes from 0. A user's packet does so too, so
the newcomer keeps the peer from its device until then.

A tunnel that lives is doubted once either end has other addresses than before: each end sends the other a packet, which
moves the other's endpoint (WireGuard paper, section 2.1), and which tells the other that it is heard. If nothing comes
within `REKEY_TIMEOUT`, the addresses are tried as for a tunnel that is dead.
"""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.model.devices import ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey

REKEY_TIMEOUT: Final = 5.0  # WireGuard paper, section 6.1: seconds between two attempts at a handshake
REJECT_AFTER_TIME: Final = 180.0  # the same section: no session is used longer, so no younger handshake means no tunnel
CALL_AFTER: Final = 0.1  # longer than the others take from the news of a newcomer to a device that answers
FOLLOW_AFTER: Final = 0.3  # longer than a newcomer takes from its first map to a device that answers
KEEPALIVE_TIMEOUT: Final = (
    10.0  # WireGuard paper, section 6.1: within it a peer that got data answers, with an empty packet if need be
)
UNANSWERED_BYTES: Final = 1024  # more than a session's keepalives and one handshake: something was to be answered
HEARD_FOR: Final = 60.0  # received bytes prove life as long; more than two keepalives of 25 s
LONGEST_TRY: Final = 60.0  # seconds that an address is tried once all have been tried a few times
FIRST_LOOK: Final = 0.2  # seconds after its start at which a handshake is looked for first
_FIRST_TRIES: Final = 2  # rounds through all addresses before they take longer
_DOUBLINGS: Final = 8  # of the time for an address: beyond LONGEST_TRY anyhow, and no power that overflows
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class Session:
    """What is known of the tunnel to one peer. All times are monotonic seconds."""

    __slots__ = (
        "_candidates", "_doubted_at", "_handshake", "_handshake_at", "_heard_at", "_is_unseen", "_is_withheld",
        "_position", "_received", "_sent_before", "_started", "_tries", "_try_until", "_unanswered_at", "call_due",
        "doubt_due", "is_calling",
    )  # fmt: skip

    def __init__(self, *, start_at: float, is_withheld: bool = False) -> None:
        """`start_at`: when we may call the peer; `is_withheld`: it must not be in the device before, unless it is."""
        self._started = start_at
        self._is_withheld = is_withheld
        self._candidates: tuple[Endpoint, ...] = ()
        self._position: int | None = 0
        self._tries = 0
        self._try_until = start_at + REKEY_TIMEOUT
        self._is_unseen = True
        self._handshake = 0.0
        self._handshake_at = _NEVER
        self._received = 0
        self._heard_at = _NEVER
        self._sent_before = 0
        self._unanswered_at = _FOREVER
        self._doubted_at = _NEVER
        self.call_due = False
        """Whether the peer is to get a packet now, from whichever address this machine has now."""
        self.is_calling = False
        """Whether that packet is under way, and would do for all that was known when it was asked for."""
        self.doubt_due = False
        """Whether addresses changed, so that from the next observation on the peer must be heard anew."""

    def call(self) -> None:
        """The peer is to get a packet; one that is under way already is too early."""
        self.call_due = True
        self.is_calling = False

    def called(self) -> None:
        """The packet that was under way has been sent."""
        if self.is_calling:
            self.call_due = self.is_calling = False

    def offer(self, candidates: tuple[Endpoint, ...], now: Instant) -> None:
        """The peer may be reached at these, best first. If they are others than before, the first one is next."""
        if candidates == self._candidates:
            return
        self._candidates = candidates
        if self.alive(now):
            self.doubt_due = True
        elif self._position is not None:
            self._try_from(0, now.monotonic)

    def observe(self, seen: ObservedPeer | None, now: Instant) -> None:
        """What the device says of the peer; None: it does not have it."""
        was_unseen, self._is_unseen = self._is_unseen, False
        if seen is None:
            return
        self._is_withheld = False
        is_heard = self._note_signs_of_life(seen, now)
        if self.alive(now):
            self._observe_alive(is_heard or self._doubted_at == _NEVER, now)
            # An agent that adopts a tunnel cannot know whether this machine moved while nobody looked.
            if was_unseen:
                self.call()
            return
        self._doubted_at = _NEVER
        self.doubt_due = False
        if self._try_until == _FOREVER:
            # The tunnel has just died. The peer may come back where it was last: that first, then the candidates.
            self._try_from(None, now.monotonic)
        elif was_unseen and seen.endpoint is not None:
            # The device stood before us: go on from the address that it has.
            known = seen.endpoint in self._candidates
            self._try_from(self._candidates.index(seen.endpoint) if known else None, now.monotonic)

    def _observe_alive(self, is_trusted: bool, now: Instant) -> None:
        if self.doubt_due:
            # What came before this moment may have come by the old addresses.
            self.doubt_due = False
            self._doubted_at = now.monotonic
            self.call()
            self._tries = 0
            self._try_from(None, now.monotonic)
        elif is_trusted:
            # The peer, in doubt as well, is answered once more: so it hears that it is heard.
            if self._doubted_at != _NEVER:
                self.call()
            self._doubted_at = _NEVER
            self._position = None
            self._try_until = _FOREVER

    def _note_signs_of_life(self, seen: ObservedPeer, now: Instant) -> bool:
        """Whether something came since the last look."""
        is_heard = 0 < self._received < seen.received_bytes
        if is_heard or seen.latest_handshake != self._handshake:
            self._sent_before = seen.sent_bytes
            self._unanswered_at = _FOREVER
        elif seen.sent_bytes - self._sent_before > UNANSWERED_BYTES:
            self._unanswered_at = min(self._unanswered_at, now.monotonic)
        if seen.latest_handshake != self._handshake:
            # Its age when first seen is all that the wall clock is asked for; it may be wrong, or jump later.
            is_first = self._handshake == 0.0
            age = max(0.0, now.wall - seen.latest_handshake) if is_first else 0.0
            self._handshake = seen.latest_handshake
            self._handshake_at = now.monotonic - age if self._handshake else _NEVER
        if is_heard:
            self._heard_at = now.monotonic
        self._received = seen.received_bytes
        return is_heard

    def tick(self, now: Instant) -> None:
        """Go on to the next address if the time of this one is over."""
        if now.monotonic < self._try_until or not self._candidates:
            return
        self.call_due = False  # a tunnel that is dead calls by itself
        if self.alive(now):
            self.call()
        following = 0 if self._position is None else (self._position + 1) % len(self._candidates)
        self._tries += 1
        self._try_from(following, now.monotonic)

    def _try_from(self, position: int | None, now: float) -> None:
        self._position = position
        rounds = self._tries // max(1, len(self._candidates))
        whole = REKEY_TIMEOUT * 2.0 ** min(max(0, rounds - _FIRST_TRIES), _DOUBLINGS)
        self._try_until = max(now, self._started) + min(LONGEST_TRY, whole)

    def alive(self, now: Instant) -> bool:
        """Whether the tunnel demonstrably carries packets."""
        return now.monotonic - self._handshake_at < REJECT_AFTER_TIME or now.monotonic - self._heard_at < HEARD_FOR

    def answers(self, now: Instant) -> bool:
        """Whether the tunnel lives, and the peer has not been silent to what it should have answered."""
        return self.alive(now) and now.monotonic - self._unanswered_at < KEEPALIVE_TIMEOUT + REKEY_TIMEOUT

    def starts(self, now: Instant) -> bool:
        """Whether we may start a handshake, and so keep the tunnel open."""
        return now.monotonic >= self._started or self.alive(now)

    def is_withheld(self, now: Instant) -> bool:
        """Whether the peer is still to be kept from the device."""
        return self._is_withheld and now.monotonic < self._started

    def endpoint(self) -> Endpoint | None:
        """Where to send to; None: leave what WireGuard has."""
        if self._position is None or not self._candidates:
            return None
        return self._candidates[min(self._position, len(self._candidates) - 1)]

    def look_at(self, now: Instant) -> float:
        """When to look at the device soon for the sake of this peer, whose first handshake is awaited, or whose first
        sign of life after a doubt."""
        since = self._started
        if self.alive(now):
            if self._doubted_at == _NEVER:
                return now.monotonic if self.doubt_due else _FOREVER
            since = self._doubted_at
        if now.monotonic < since:
            return since
        age = now.monotonic - since
        # 0.2, 0.4, 0.8 … seconds after the start, then as often as the address changes.
        return now.monotonic + max(FIRST_LOOK, age) if age < REKEY_TIMEOUT else _FOREVER

    def change_at(self, now: Instant) -> float:
        """When something changes by time alone: the next address is due, or the tunnel can no longer be alive."""
        if self._try_until == _FOREVER:
            return max(now.monotonic, self._handshake_at + REJECT_AFTER_TIME, self._heard_at + HEARD_FOR)
        return max(self._try_until, now.monotonic) if self._candidates else _FOREVER


def is_fresh(device: ObservedDevice | None, key: PublicKey, wall: float) -> bool:
    """Whether the tunnel to that peer lives, for one that sees the device once and so has its handshake's age only.

    `wall`: Unix seconds.
    """
    seen = device.peers.get(key) if device else None
    return seen is not None and wall - seen.latest_handshake < REJECT_AFTER_TIME

"""What is known of one tunnel: whether it carries packets, whether the peer answers, and how much goes each way.

The only owner of liveness. Everything is told from what the device says of the peer at each look. Times are monotonic
seconds; a handshake's age when it is first seen is all that the wall clock is asked for, which may be wrong or jump.
"""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.model.devices import ObservedDevice, ObservedPeer
from wireguard_mesh.model.keys import PublicKey

REKEY_TIMEOUT: Final = 5.0  # WireGuard paper, section 6.1: seconds between two attempts at a handshake
REKEY_AFTER_TIME: Final = 120.0  # the same section: what is sent after so many seconds has a new session made
REKEY_ATTEMPT_TIME: Final = 90.0  # the same section: seconds for which handshakes are tried
REJECT_AFTER_TIME: Final = 180.0  # the same section: no session is used longer, so no younger handshake means no tunnel
KEEPALIVE_TIMEOUT: Final = (
    10.0  # WireGuard paper, section 6.1: within it a peer that got data answers, with an empty packet if need be
)
UNANSWERED_BYTES: Final = 1024  # more than a session's keepalives and one handshake: something was to be answered
HEARD_FOR: Final = 60.0  # received bytes prove life as long; more than two keepalives of 25 s
USED_BYTES: Final = 256  # between two looks: more than a handshake and keepalives
BUSY_RATE: Final = 100_000.0  # bytes a second: some seventy full packets; more than probes make, too
RATE_WINDOW: Final = 0.05  # seconds that a rate is taken over at least: one packet is no flow
_EVEN: Final = 1.5  # flows whose rates differ by less count as equal
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class Tunnel:
    """Signs of life of one peer."""

    __slots__ = (
        "_converses", "_handshake", "_heard_at", "_received", "_renewed_at", "_sample", "_sent", "_sent_before",
        "handshake_at", "is_used",
        "received_rate", "sent_rate", "unanswered_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self._handshake = 0.0
        self.handshake_at = _NEVER
        """When the session was made."""
        self._received = 0
        self._renewed_at = _NEVER
        self._heard_at = _NEVER
        self._sent = self._sent_before = 0
        self.is_used = False
        """Whether data went to the peer between the last two looks."""
        self.unanswered_at = _FOREVER
        """The look at which it was seen that data is unanswered."""
        self._converses = False
        self._sample = (_NEVER, 0, 0)  # when the counters were taken that the next rates are reckoned from
        self.sent_rate = 0.0
        """Bytes a second that went to the peer lately."""
        self.received_rate = 0.0
        """Bytes a second that came from it lately."""

    def renewed(self, now: Instant) -> None:
        """The peer is removed and made again: its session is no more."""
        self._handshake, self.handshake_at, self._heard_at = 0.0, _NEVER, _NEVER
        self._received = self._sent = self._sent_before = 0
        self.unanswered_at = _FOREVER
        self._sample = (_NEVER, 0, 0)
        self.sent_rate = self.received_rate = 0.0
        self._renewed_at = now.monotonic

    def is_renewing(self, now: Instant) -> bool:
        """Whether that was lately, so that WireGuard is still trying to make another session."""
        return now.monotonic - self._renewed_at < REKEY_ATTEMPT_TIME

    def is_old(self, now: Instant) -> bool:
        """Whether WireGuard would make another session as soon as something is sent."""
        return now.monotonic - self.handshake_at >= REKEY_AFTER_TIME

    def observe(self, seen: ObservedPeer, now: Instant) -> bool:
        """What the device says of the peer; whether something came since the last look."""
        is_heard = 0 < self._received < seen.received_bytes
        is_shaken = seen.latest_handshake != self._handshake
        if is_heard:
            self._converses = seen.received_bytes - self._received > USED_BYTES
        if is_heard or is_shaken:
            self._sent_before = seen.sent_bytes
            self.unanswered_at = _FOREVER
        elif seen.sent_bytes - self._sent_before > UNANSWERED_BYTES:
            self.unanswered_at = min(self.unanswered_at, now.monotonic)
        is_first = self._handshake == 0.0 and seen.latest_handshake > 0.0
        if is_shaken:
            age = max(0.0, now.wall - seen.latest_handshake) if is_first else 0.0
            self._handshake = seen.latest_handshake
            self.handshake_at = now.monotonic - age if self._handshake else _NEVER
        if is_heard:
            self._heard_at = now.monotonic
        self._received = seen.received_bytes
        self.is_used = seen.sent_bytes - self._sent > USED_BYTES
        self._sent = seen.sent_bytes
        self._measure(seen, now, is_new=is_first)
        return is_heard

    def _measure(self, seen: ObservedPeer, now: Instant, *, is_new: bool) -> None:
        since, sent, received = self._sample
        elapsed = now.monotonic - since
        if is_new:
            # The session is younger than the last look: what was counted belongs to its own time.
            elapsed = max(RATE_WINDOW, now.wall - seen.latest_handshake)
        if elapsed < RATE_WINDOW:
            return
        self.sent_rate = max(0, seen.sent_bytes - sent) / elapsed
        self.received_rate = max(0, seen.received_bytes - received) / elapsed
        self._sample = (now.monotonic, seen.sent_bytes, seen.received_bytes)

    def alive(self, now: Instant) -> bool:
        """Whether the tunnel demonstrably carries packets."""
        return now.monotonic - self.handshake_at < REJECT_AFTER_TIME or now.monotonic - self._heard_at < HEARD_FOR

    def dead_at(self) -> float:
        """When it no longer counts as alive, if nothing more comes."""
        return max(self.handshake_at + REJECT_AFTER_TIME, self._heard_at + HEARD_FOR)

    def answers(self, now: Instant) -> bool:
        """Whether the tunnel lives, or has just been made anew, and the peer has not been silent to what it should have
        answered."""
        if now.monotonic - self._renewed_at < REKEY_TIMEOUT:
            return True
        return self.alive(now) and self.unanswered_for(now) < KEEPALIVE_TIMEOUT + REKEY_TIMEOUT

    def unanswered_for(self, now: Instant) -> float:
        """Seconds since it was seen that data is unanswered; 0 if none is."""
        return max(0.0, now.monotonic - self.unanswered_at)

    @property
    def answer_time(self) -> float:
        """Seconds that an answer may take: one that spoke itself lately answers at once, one that merely listens sends
        an empty packet after `KEEPALIVE_TIMEOUT`."""
        return 0.0 if self._converses else KEEPALIVE_TIMEOUT

    def silent_for(self, now: Instant) -> float:
        """Seconds since the last sign of life."""
        return now.monotonic - max(self.handshake_at, self._heard_at)

    def heard_since(self, moment: float) -> bool:
        """Whether there was a sign of life after that monotonic moment."""
        return max(self.handshake_at, self._heard_at) > moment

    @property
    def sends_much(self) -> bool:
        """Whether a flow goes to the peer."""
        return self.sent_rate > BUSY_RATE

    @property
    def is_busy(self) -> bool:
        """Whether a flow goes one way or the other."""
        return self.sends_much or self.receives_much

    @property
    def receives_much(self) -> bool:
        """Whether a flow comes from the peer."""
        return self.received_rate > BUSY_RATE

    def sends_most(self, *, is_elected: bool) -> bool:
        """Whether a flow goes to the peer, and none comes that is as big. The other end says the opposite; of two equal
        flows, the end that `is_elected` counts as the one that sends less."""
        if not self.sends_much:
            return False
        if is_elected:
            return self.sent_rate > self.received_rate * _EVEN
        return self.sent_rate * _EVEN >= self.received_rate


def is_fresh(device: ObservedDevice | None, key: PublicKey, wall: float) -> bool:
    """Whether the tunnel to that peer lives, for one that sees the device once and so has its handshake's age only.

    `wall`: Unix seconds.
    """
    seen = device.peers.get(key) if device else None
    return seen is not None and wall - seen.latest_handshake < REJECT_AFTER_TIME

"""One machine per peer: who starts, and where to send as long as no tunnel stands.

What WireGuard does by itself is left to it. It repeats an unanswered handshake every `REKEY_TIMEOUT` for
`REKEY_ATTEMPT_TIME`, and follows a peer that roams. This machine only gives it the next address to try as long as none
answers, and sees to it that of two peers one starts: when both start at once over a long round trip, each throws away
the other's answer, and the first handshake takes many seconds.

Who starts: the one that learns of the other in its first map, the newcomer, after `CALL_AFTER`, by when those that
were there have heard of it and can answer: behind a NAT its own attempt is the only one that can arrive, and a lost one
costs `REKEY_TIMEOUT`. The one that was there already waits `FOLLOW_AFTER`, should the newcomer's attempt have been
lost. What makes WireGuard start is the persistent keepalive, when it changes from 0. A user's packet does so too, so
the newcomer keeps the peer from its device until then, and the other end gives the peer no address: it learns one
from the newcomer's first packet. Where there are relays, the newcomer waits until one knows it, for `RELAY_PATIENCE` at
most: by a relay the first handshake reaches whoever is there, however long that takes, so the other end follows after
`FOLLOW_BY_RELAY` only.

A handshake by relay that does not come is begun anew at once, by removing the peer, which has no session, and making it
again: it was lost, or the other end had not heard of us, or two newcomers called each other at the same time. Lest they
do so again, one is to retry earlier than the other. If the relay stays silent to that as well, the candidates have
their turns, and the relay between any two of them.

Once a tunnel stands, `core.paths` says where to send. One that lives is doubted once either end has other addresses
than before: each end sends the other a packet, which moves the other's endpoint (WireGuard paper, section 2.1), and
which tells the other that it is heard. If nothing comes within `REKEY_TIMEOUT`, the addresses are tried as for a tunnel
that is dead; only the relay, if there is one. A tunnel that lives is never removed and made again, but for the one
exception of `core.renewals`: it carries nothing, and the relay that could does not know its session.
"""

from __future__ import annotations

from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.paths import Path
from wireguard_mesh.core.tunnels import REKEY_TIMEOUT, Tunnel
from wireguard_mesh.model.devices import ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import PathKind

CALL_AFTER: Final = 0.1  # longer than the others take from the news of a newcomer to a device that answers
FOLLOW_AFTER: Final = 0.3  # longer than a newcomer takes from its first map to a device that answers
# The same where a newcomer calls by relay: longer than it waits for one, retries, and is answered over a long line.
FOLLOW_BY_RELAY: Final = 2.5
RETRY_ELECTED: Final = 1.0  # seconds after which a call by relay is repeated
RETRY: Final = 1.8  # the same by the other end: long enough for the answer to the first one's
# How much longer for each second of a round trip to the relay: the peer may be as far from it, and a handshake takes
# one round trip and a half.
RETRY_TRIPS: Final = 3.0
RELAY_PATIENCE: Final = 1.0  # seconds that a newcomer waits for a relay before it calls without
LONGEST_TRY: Final = 60.0  # seconds that an address is tried once all have been tried a few times
FIRST_LOOK: Final = 0.05  # seconds after its start at which a handshake is looked for; then twice as late each time
WATCH: Final = 1.0  # seconds between two looks at a direct path that carries data
EARLY_LOOK: Final = 0.05  # seconds between two looks whether the newcomer's call has come by relay
_FIRST_TRIES: Final = 2  # rounds through all addresses before they take longer
_DOUBLINGS: Final = 8  # of the time for an address: beyond LONGEST_TRY anyhow, and no power that overflows
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")


class Session:
    """What is to be done about one peer. All times are monotonic seconds."""

    __slots__ = (
        "_addresses", "_doubted_at", "_is_elected", "_is_unseen", "_is_withheld", "_position", "_relay", "_retry_at",
        "_started", "_tries", "_try_until", "call_due", "doubt_due", "is_calling", "path", "reset_due", "tunnel",
    )  # fmt: skip

    def __init__(self, *, start_at: float, is_withheld: bool = False, is_elected: bool = False) -> None:
        """`start_at`: when we may call the peer; `is_withheld`: it must not be in the device before, unless it is;
        `is_elected`: of the two ends this is the one that decides where both would decide alike."""
        self.tunnel = Tunnel()
        self.path = Path(is_elected=is_elected)
        self._is_elected = is_elected
        self._started = start_at
        self._is_withheld = is_withheld
        self._addresses: tuple[Endpoint, ...] = ()
        self._relay: Endpoint | None = None
        self._position: int | None = 0
        self._tries = 0
        self._try_until = start_at + REKEY_TIMEOUT
        self._retry_at = _FOREVER
        self._is_unseen = True
        self._doubted_at = _NEVER
        self.call_due = False
        """Whether the peer is to get a packet now, from whichever address this machine has now."""
        self.is_calling = False
        """Whether that packet is under way, and would do for all that was known when it was asked for."""
        self.doubt_due = False
        """Whether addresses changed, so that from the next observation on the peer must be heard anew."""
        self.reset_due = False
        """Whether the peer, whose session is none or worth nothing, is to be removed and made again, which starts a
        handshake at once."""

    def call(self) -> None:
        """The peer is to get a packet; one that is under way already is too early."""
        self.call_due = True
        self.is_calling = False

    def called(self) -> None:
        """The packet that was under way has been sent."""
        if self.is_calling:
            self.call_due = self.is_calling = False

    def hasten(self, start_at: float) -> None:
        """What was waited for is there: we may call the peer at that moment already."""
        if start_at < self._started:
            self._retry_at -= self._started - start_at
            self._started = start_at
            self._try_until = start_at + REKEY_TIMEOUT

    def offer(
        self, relay: Endpoint | None, candidates: tuple[Endpoint, ...], now: Instant, *, relay_seconds: float = 0.0
    ) -> None:
        """The peer may be reached by the relay at `relay`, to which a round trip takes `relay_seconds` if that is
        known, and directly at these, best first. If they are others than before, the first one is next."""
        addresses = candidates if relay is None else _turns(relay, candidates)
        if addresses == self._addresses:
            return
        is_at_relay = self._relay is not None and self.endpoint() == self._relay
        is_new_relay = relay is not None and relay != self._relay
        self._addresses, self._relay = addresses, relay
        if self.tunnel.alive(now) or self._position is None:
            return
        if is_at_relay and relay is not None and not is_new_relay:
            self._position = 0  # what is under way is not disturbed
            return
        # What WireGuard began goes elsewhere, and it would begin nothing new for REKEY_TIMEOUT.
        self.reset_due = is_new_relay and now.monotonic >= self._started
        self._try_from(0, now.monotonic)
        self._retry_at = _FOREVER
        if relay is not None:
            patience = RETRY_ELECTED if self._is_elected else RETRY
            self._retry_at = max(now.monotonic, self._started) + patience * max(1.0, RETRY_TRIPS * relay_seconds)
            self._try_until = max(self._try_until, self._retry_at)

    def doubt(self, now: Instant) -> None:
        """One end has other addresses than before: the peer must be heard anew if its tunnel lives."""
        self.doubt_due = self.tunnel.alive(now)

    def observe(self, seen: ObservedPeer | None, now: Instant) -> None:
        """What the device says of the peer; None: it does not have it."""
        was_unseen, self._is_unseen = self._is_unseen, False
        if seen is None:
            return
        self._is_withheld = False
        is_heard = self.tunnel.observe(seen, now)
        if self.tunnel.alive(now):
            self.reset_due = False
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
            known = seen.endpoint in self._addresses
            self._try_from(self._addresses.index(seen.endpoint) if known else None, now.monotonic)

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

    def renew(self, now: Instant) -> None:
        """The tunnel carries nothing, and is to be made anew, by the relay at first."""
        self.tunnel.renewed(now)
        self.path.died()
        self.reset_due = True
        self.doubt_due = self.call_due = False
        self._doubted_at = _NEVER
        self._tries = 0
        self._try_from(0, now.monotonic)

    def tick(self, now: Instant) -> None:
        """Go on to the next address if the time of this one is over, or begin anew where it is."""
        if now.monotonic >= self._retry_at:
            self._retry_at = _FOREVER
            if not self.tunnel.alive(now) and self._position is not None:
                self.reset_due = True
                self._try_from(0, now.monotonic)
                return
        if now.monotonic < self._try_until or not self._addresses:
            return
        self.call_due = False  # a tunnel that is dead calls by itself
        following = 0 if self._position is None else (self._position + 1) % len(self._addresses)
        if self.tunnel.alive(now):
            self.call()
            following = following if self._relay is None else 0  # from there, addresses are tried at no risk
        self._tries += 1
        self._try_from(following, now.monotonic)

    def _try_from(self, position: int | None, now: float) -> None:
        self._position = position
        rounds = self._tries // max(1, len(self._addresses))
        whole = REKEY_TIMEOUT * 2.0 ** min(max(0, rounds - _FIRST_TRIES), _DOUBLINGS)
        self._try_until = max(now, self._started) + min(LONGEST_TRY, whole)

    def starts(self, now: Instant) -> bool:
        """Whether we may start a handshake, and so keep the tunnel open."""
        return now.monotonic >= self._started or self.tunnel.alive(now)

    def is_withheld(self, now: Instant) -> bool:
        """Whether the peer is still to be kept from the device."""
        return self._is_withheld and now.monotonic < self._started

    def is_trying(self) -> bool:
        """Whether addresses are being tried, so that where WireGuard sends to is our choice and says nothing."""
        return self._position is not None

    def endpoint(self) -> Endpoint | None:
        """Where to send to, once we may; None: leave what WireGuard has."""
        if self._position is None or not self._addresses:
            return self.path.target
        return self._addresses[min(self._position, len(self._addresses) - 1)]

    def return_home(self) -> None:
        """WireGuard sends where nothing may be sent: it is to send by the relay again, or to the best candidate."""
        self.path.target = self._addresses[0] if self._addresses else None

    def look_at(self, now: Instant) -> float:
        """When to look at the device soon for the sake of this peer, whose first handshake is awaited, or whose first
        sign of life after a doubt, or an answer to what was tried."""
        since = self._started
        if self.tunnel.alive(now):
            looks = self.path.look_at(now)
            if self._doubted_at == _NEVER:
                return now.monotonic if self.doubt_due else min(looks, self.path.renewals.due_at(self.tunnel))
            since = self._doubted_at
        else:
            looks = _FOREVER
        if now.monotonic < since:
            return since if self._relay is None else min(since, now.monotonic + EARLY_LOOK)
        age = now.monotonic - since
        # 0.05, 0.1, 0.2 … seconds after the start, then as often as the address changes.
        return min(looks, now.monotonic + max(FIRST_LOOK, age)) if age < REKEY_TIMEOUT else looks

    def change_at(self, now: Instant) -> float:
        """When something changes by time alone: the next address is due, or the tunnel can no longer be alive; or when
        to look whether data on a direct path, which a relay could replace, is answered."""
        if self._try_until == _FOREVER:
            is_watched = self.tunnel.is_used and self._relay is not None and self.path.kind is PathKind.DIRECT
            return min(max(now.monotonic, self.tunnel.dead_at()), now.monotonic + WATCH if is_watched else _FOREVER)
        return max(min(self._try_until, self._retry_at), now.monotonic) if self._addresses else _FOREVER


def _turns(relay: Endpoint, candidates: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The relay, and after each candidate the relay again."""
    return tuple(turn for candidate in candidates for turn in (relay, candidate)) or (relay,)

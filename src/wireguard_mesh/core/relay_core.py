"""One relay: the rendezvous knows where everybody is, and the forwarder carries packets between them.

Both listen on the same port. A datagram that is a plain transport message with a route is forwarded at once; all others
are shown to the rendezvous first, and forwarded if they are none of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from wireguard_mesh.core.forwarding import NO_LIMITS, Buffer, Forwarder, ForwardingLimits, Run, spans
from wireguard_mesh.core.forwarding_routes import SavedRoute
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.rendezvous import Observation, Rendezvous, SavedSession
from wireguard_mesh.core.rendezvous_gate import Random
from wireguard_mesh.core.sources import Source, WebSource
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.wireguard import KEEPALIVE_SIZE, MessageType, message_type

FORWARDING: Final = 0  # the vantage point that forwards

Answer = tuple[Source, bytes]
"""To whom, and what; from the vantage point that was asked."""

Released = tuple[Source, bytes]
"""Where to, and an initiation that had to wait."""


class RelayCore:
    """Datagrams in; where they go, and answers, out. `random`: so many secure random bytes."""

    def __init__(
        self,
        rendezvous: Rendezvous,
        permits: Callable[[PublicKey, PublicKey], bool],
        random: Random,
        limits: ForwardingLimits = NO_LIMITS,
    ) -> None:
        self.rendezvous = rendezvous
        self.forwarder = Forwarder(permits, limits)
        self._random = random
        self._answers: list[Answer] = []
        # The newest of each peer at each vantage point, so that one who roams without end is bounded.
        self._observations: dict[tuple[PublicKey, int], Observation] = {}
        self._registered: set[PublicKey] = set()
        self.answered = 0

    @property
    def registered(self) -> int:
        """How many peers may use the relay."""
        return len(self._registered)

    @property
    def present(self) -> int:
        """How many of them are somewhere now."""
        return self.forwarder.present

    def roster(self, add: Iterable[PublicKey], remove: Iterable[PublicKey], *, whole: bool) -> None:
        """Who is registered: a difference, or with `whole` all of them."""
        added = set(add)
        for key in self._registered - added if whole else self._registered & set(remove) - added:
            self.rendezvous.dismiss(key)
            self.forwarder.dismiss(key)
            self._registered.discard(key)
        for key in added - self._registered:
            self.rendezvous.admit(key)
            self.forwarder.admit(key)
            self._registered.add(key)
        self._follow()

    def receive(
        self, vantage: int, source: Source, buffer: Buffer, start: int, end: int, size: int, now: Instant
    ) -> list[Run]:
        """Take what came to a vantage point, in packets of `size` bytes but for the last; where it goes.

        What the relay says itself is in `answers`.
        """
        if vantage != FORWARDING:
            for first, last in spans(start, end, size):
                self._take(vantage, source, bytes(buffer[first:last]), now)
            return []
        runs, rest = self.forwarder.forward(source, buffer, start, end, size, now.monotonic)
        for first, last in rest:
            datagram = bytes(buffer[first:last])
            if self._is_none_of_ours(source, datagram, now):
                destination = self.forwarder.forward_one(source, datagram, now)
                if destination is not None:
                    runs.append((destination, first, last, last - first))
        return runs

    def answers(self) -> list[Answer]:
        """What is to be answered since this was asked last."""
        answers, self._answers = self._answers, []
        return answers

    def released(self, now: Instant) -> list[Released]:
        """Initiations that can go now, since somebody was located who was missing before."""
        return self.forwarder.released(now)

    def observations(self) -> list[Observation]:
        """Who was seen elsewhere since this was asked last."""
        observations, self._observations = self._observations, {}
        return list(observations.values())

    def is_at(self, source: Source) -> bool:
        """Whether some peer is at that source now."""
        return self.forwarder.is_at(source)

    def closed(self, source: WebSource) -> None:
        """A WebSocket has ended: nobody is there any more."""
        self.forwarder.vacate(source)

    def expire(self, now: Instant) -> None:
        """Forget what has ended. To be called each second or so."""
        self.rendezvous.expire(now)
        self.forwarder.expire(now.monotonic)
        self._follow()

    def restore(self, sessions: Sequence[SavedSession], routes: Iterable[SavedRoute], now: Instant) -> None:
        """Go on where another process was; to be called when those are admitted that it knew."""
        self.rendezvous.restore(sessions, now)
        for session in sessions:
            self.forwarder.locate(session.public_key, self.rendezvous.source_of(session.public_key))
        self.forwarder.restore(routes, now)
        self._follow()

    def _is_none_of_ours(self, source: Source, datagram: bytes, now: Instant) -> bool:
        if len(datagram) > KEEPALIVE_SIZE and message_type(datagram) is MessageType.TRANSPORT:
            return True  # nobody sends us packets
        return not self._take(FORWARDING, source, datagram, now)

    def _take(self, vantage: int, source: Source, datagram: bytes, now: Instant) -> bool:
        answer = self.rendezvous.receive(vantage, source, datagram, now, self._random)
        if answer is None:
            return False
        if answer:
            self.answered += 1
            self._answers.append((source, answer))
        self._follow()
        return True

    def _follow(self) -> None:
        for seen in self.rendezvous.observations():
            self._observations[seen.public_key, seen.vantage] = seen
            if seen.vantage == FORWARDING:
                self.forwarder.locate(seen.public_key, seen.source)

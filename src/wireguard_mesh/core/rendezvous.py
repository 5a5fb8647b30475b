"""The rendezvous: a WireGuard responder that learns from where it hears each peer, and carries no packet.

Each peer has every vantage point of a relay as one more WireGuard peer with a keepalive. A handshake proves who it is,
a keepalive under the session's keys that the source is its own: so the relay knows the peer's address behind its NAT,
and the peer needs nothing for it but WireGuard. A replayed initiation proves nothing: who replays it lacks the keys.

Pure: bytes in, with `now` and a source of randomness; at most one answer out, to where they came from, and shorter than
what it answers. What cannot be authenticated has no answer, except that under load a cookie reply goes to who sent a
right mac1 (`core.rendezvous_gate`): the sender knows this relay's public key, and gets 64 bytes for 148.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.rendezvous_gate import Gate, GateLimits, Random
from wireguard_mesh.core.rendezvous_table import REJECT_AFTER_TIME, Point, Session, Table
from wireguard_mesh.core.sources import Source, UdpSource, WebSource, endpoint_of
from wireguard_mesh.model.keys import KEY_LENGTH, PrivateKey, PublicKey
from wireguard_mesh.protocol import cookies, handshake, noise, pings
from wireguard_mesh.protocol.handshake import Responder
from wireguard_mesh.protocol.noise import HandshakeRefused
from wireguard_mesh.protocol.pings import Ping, PingKeys, Pong
from wireguard_mesh.protocol.wireguard import (
    KEEPALIVE_SIZE,
    TRANSPORT_HEADER_SIZE,
    Datagram,
    Initiation,
    MessageType,
    message_type,
    transport_header,
)

TAKEN: Final = b""
"""A datagram was for the rendezvous and has no answer."""

HANDSHAKE_GAP: Final = 0.02  # seconds between two of one peer that are answered; WireGuard's, 50 a second
PONG_GAP: Final = 1 / 16  # seconds between two pongs to one peer, in the long run
PONG_BURST: Final = 20  # at once before that
_INDEX_LENGTH: Final = 4
_MICROSECOND: Final = 1e-6


class Observation(msgspec.Struct, frozen=True):
    """A vantage point hears a peer from another source than before. `source` None: no longer at all."""

    public_key: PublicKey
    vantage: int
    source: Source | None


class SavedSession(msgspec.Struct, frozen=True):
    """A confirmed session as the journal keeps it. Secret: `receiving_key` reads what the peer sends.

    `created` in Unix seconds. `timestamp`: TAI64N of the newest initiation; older ones are replays.
    """

    public_key: PublicKey
    vantage: int
    index: int
    receiving_key: bytes
    counter: int
    created: float
    timestamp: bytes
    source: UdpSource

    def __repr__(self) -> str:
        return f"SavedSession({self.public_key}, vantage={self.vantage}, source={self.source}, redacted)"


class Counts(msgspec.Struct):
    """What a rendezvous did since it was made. `refused`: handshakes and pings for us that were not what they claim."""

    handshakes: int = 0
    keepalives: int = 0
    pongs: int = 0
    cookie_replies: int = 0
    refused: int = 0


class Rendezvous:
    """One for each relay, with all its vantage points. Only keys that were admitted are ever answered."""

    def __init__(self, vantages: Sequence[PrivateKey], limits: GateLimits | None = None) -> None:
        self._responders = tuple(Responder(key) for key in vantages)
        self._gate = Gate(limits or GateLimits())
        self._table = Table(len(self._responders))
        self.counts = Counts()

    def admit(self, key: PublicKey) -> None:
        """`key` is registered. Once is enough, and again changes nothing."""
        self._table.admit(key)

    def dismiss(self, key: PublicKey) -> None:
        """`key` is registered no more: its sessions end now."""
        self._table.dismiss(key)

    def receive(self, vantage: int, source: Source, datagram: Datagram, now: Instant, random: Random) -> bytes | None:
        """Take a datagram that came to vantage point number `vantage`.

        Returns the answer to `source`; `TAKEN` (empty) if it was for the rendezvous and has none; None if it was not
        for the rendezvous, so that the relay may forward it. Whatever a stranger sends is taken or None.
        """
        kind = message_type(datagram)
        if kind is MessageType.TRANSPORT:
            return self._keepalive(vantage, source, datagram, now.monotonic)
        if kind is MessageType.INITIATION:
            return self._initiation(vantage, source, datagram, now, random)
        if kind is None and pings.is_ping(datagram):
            return self._ping(vantage, source, datagram, now)
        return None

    def peer_at(self, source: Source) -> PublicKey | None:
        """Whose source that is at vantage point 0, which forwards."""
        return self._table.key_at(source)

    def source_of(self, key: PublicKey) -> Source | None:
        """Where `key` is reached from vantage point 0; None if it is not heard there."""
        return self._table.source_of(key.raw)

    def expire(self, now: Instant) -> None:
        """End the sessions that are too old. To be called each second or so."""
        self._table.expire(now.monotonic)

    def observations(self) -> list[Observation]:
        """What changed since this was asked last; of one peer at one vantage point the newest."""
        return [Observation(point.key, point.vantage, point.source) for point in self._table.moved()]

    def unsaved(self) -> list[SavedSession]:
        """Sessions that were confirmed or moved since this was asked last, for the journal."""
        return _saved(self._table.unsaved())

    def sessions(self) -> list[SavedSession]:
        """All confirmed sessions, oldest first, for a new journal."""
        return _saved(self._table.confirmed())

    def restore(self, sessions: Sequence[SavedSession], now: Instant) -> None:
        """Go on where another process was. Of several of one peer at one vantage point the last counts.

        A key that is not admitted, or a session that is too old, is left out; a clock that was set back in the meantime
        makes none live longer than a new one. A restored session stays at its source until the next handshake: the
        journal's counter may be behind, so that what says otherwise may be a replay.
        """
        for saved in sessions:
            self._restore(saved, now)
        self._table.settle()

    def _restore(self, saved: SavedSession, now: Instant) -> None:
        age = max(0.0, now.wall - saved.created)
        point = self._table.point(saved.public_key.raw, saved.vantage) if self._fits(saved) else None
        if point is None or age > REJECT_AFTER_TIME:
            return
        other = self._table.session(saved.index)
        if other is not None and other is not point.confirmed:
            return
        session = Session(point, saved.index, saved.receiving_key, saved.source, now)
        session.created -= age
        session.created_wall -= age
        session.counter = saved.counter
        point.timestamp = max(point.timestamp, saved.timestamp)
        self._table.restore(session)

    def _fits(self, saved: SavedSession) -> bool:
        return 0 <= saved.vantage < len(self._responders) and len(saved.receiving_key) == KEY_LENGTH

    # Handshakes

    def _initiation(
        self, vantage: int, source: Source, datagram: Datagram, now: Instant, random: Random
    ) -> bytes | None:
        responder = self._responders[vantage]
        if not responder.is_called(datagram):
            return None
        is_known = self._table.key_at(source) is not None
        refusal = self._gate.refusal(responder.cookie_key, source, datagram, now, random, is_known=is_known)
        if refusal is not None:
            self.counts.cookie_replies += bool(refusal)
            return refusal
        try:
            answer = self._answer(vantage, source, Initiation.parse(datagram), now, random)
        except HandshakeRefused:
            self.counts.refused += 1
            return TAKEN
        self._gate.succeeded(source)
        return answer

    def _answer(self, vantage: int, source: Source, initiation: Initiation, now: Instant, random: Random) -> bytes:
        responder = self._responders[vantage]
        received = responder.read(initiation)
        point = self._table.point(received.static, vantage)
        if point is None:
            raise HandshakeRefused("the key is not registered")
        if not _may_be_at(source, point.key):
            raise HandshakeRefused("a WebSocket is for the one who opened it")
        timestamp = received.open_payload(self._static_secret(point), initiation.encrypted_timestamp)
        if timestamp <= point.timestamp or now.monotonic - point.answered_at < HANDSHAKE_GAP:
            raise HandshakeRefused("the initiation was seen before, or comes too soon after the last")
        index = self._unused_index(random)
        response, keys = handshake.respond(
            received,
            sender=index,
            receiver=initiation.sender,
            ephemeral=PrivateKey.generate(random(KEY_LENGTH)),
            initiator_mac1_key=cookies.mac1_key(point.key),
        )
        point.timestamp = timestamp
        point.answered_at = now.monotonic
        self._table.begin(Session(point, index, keys.receiving, source, now))
        self.counts.handshakes += 1
        return response

    def _static_secret(self, point: Point) -> bytes:
        if not point.static_secret:
            point.static_secret = self._responders[point.vantage].key.exchange(point.key.raw)
        return point.static_secret

    def _unused_index(self, random: Random) -> int:
        while True:
            index = int.from_bytes(random(_INDEX_LENGTH), "little")
            if self._table.session(index) is None:
                return index

    # Keepalives

    def _keepalive(self, vantage: int, source: Source, datagram: Datagram, now: float) -> bytes | None:
        if len(datagram) != KEEPALIVE_SIZE:
            return None
        index, counter = transport_header(datagram)
        session = self._table.session(index)
        if session is None or session.point.vantage != vantage or not _may_use(session, counter, now):
            return None
        if not _may_be_at(source, session.point.key):
            return None
        try:
            noise.decrypt(session.receiving_key, counter, datagram[TRANSPORT_HEADER_SIZE:])
        except HandshakeRefused:
            return None  # another session, between two peers, may have the same index
        session.counter = counter
        session.heard = now
        self.counts.keepalives += 1
        if session.point.confirmed is not session:
            self._table.confirm(session, source, now)
        elif session.source != source:
            self._table.roam(session, source, now)
        return TAKEN

    # Pings

    def _ping(self, vantage: int, source: Source, datagram: Datagram, now: Instant) -> bytes:
        ping = Ping.parse(datagram)
        point = self._table.point(ping.public_key, vantage)
        if point is None:
            self.counts.refused += 1
            return TAKEN
        keys = PingKeys(self._static_secret(point))
        is_now = abs(ping.microseconds * _MICROSECOND - now.wall) <= pings.MAX_SKEW_SECONDS
        if not (is_now and ping.microseconds > point.pinged and Ping.is_signed(datagram, keys)):
            self.counts.refused += 1
            return TAKEN
        due = max(point.pong_due, now.monotonic)
        if due - now.monotonic >= PONG_BURST * PONG_GAP:
            return TAKEN
        point.pong_due = due + PONG_GAP
        point.pinged = ping.microseconds
        self.counts.pongs += 1
        return Pong(ping.microseconds, endpoint_of(source)).build(keys)


def _may_be_at(source: Source, key: PublicKey) -> bool:
    """Whoever copies a peer's packets into a WebSocket of its own does not become that peer."""
    return not isinstance(source, WebSource) or source.public_key == key


def _may_use(session: Session, counter: int, now: float) -> bool:
    """A message that is not newer than the last tells nothing: keepalives carry nothing that could be missed."""
    return counter > session.counter and now - session.created <= REJECT_AFTER_TIME


def _saved(sessions: Iterable[Session]) -> list[SavedSession]:
    return [
        SavedSession(
            public_key=session.point.key,
            vantage=session.point.vantage,
            index=session.index,
            receiving_key=session.receiving_key,
            counter=session.counter,
            created=session.created_wall,
            timestamp=session.point.timestamp,
            source=session.source,
        )
        for session in sessions
        # A WebSocket ends with the process, and what was displaced is nowhere.
        if session.source is not None and not isinstance(session.source, WebSource)
    ]

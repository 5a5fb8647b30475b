"""Who a rendezvous answers, their sessions, and from where they are heard.

Of each registered key, at each vantage point, there are two sessions at most: one that the peer uses, and one that was
answered and is not yet confirmed by a message under its keys. A session before these is of no use here: what comes late
says nothing new about where the peer is. So all is bounded by the number of registered keys.

Values of tens of thousands of peers, changed in place: classes with slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sources import Source, WebSource
from wireguard_mesh.model.keys import PublicKey

REJECT_AFTER_TIME: Final = 180.0
"""Seconds after which a session's keys are not used (WireGuard paper, section 6.1)."""

TAKEN_SECONDS: Final = 60.0
"""How long a source belongs to the peer that was heard there last: a keepalive comes each 25 s, and one may be lost.

Until then another peer gets it by a handshake only, which shows that it receives there. Else a registered peer could
push another one from its address with messages of its own under a forged one.
"""

SAVED_EACH: Final = 1.0  # seconds between two records of one session in the journal that only say where it is
NEVER: Final = float("-inf")
NO_COUNTER: Final = -1
NO_TIMESTAMP: Final = b""  # sorts before all


class Point:
    """One registered key at one vantage point."""

    __slots__ = (
        "answered_at",
        "confirmed",
        "key",
        "pending",
        "pinged",
        "pong_due",
        "static_secret",
        "timestamp",
        "vantage",
    )

    def __init__(self, key: PublicKey, vantage: int) -> None:
        self.key = key
        self.vantage = vantage
        self.static_secret = b""  # until the first handshake or ping
        self.timestamp = NO_TIMESTAMP  # TAI64N of the newest initiation that was answered
        self.answered_at = NEVER
        self.pinged = 0  # microseconds of the newest ping that was answered
        self.pong_due = NEVER  # when pongs would have been sent at their sustained rate
        self.confirmed: Session | None = None
        self.pending: Session | None = None

    @property
    def source(self) -> Source | None:
        """From where the peer is heard; None: it is not."""
        return None if self.confirmed is None else self.confirmed.source


class Session:
    """The keys of one handshake, and from where its messages come. `created`, `heard`: monotonic seconds."""

    __slots__ = (
        "counter",
        "created",
        "created_wall",
        "heard",
        "index",
        "may_roam",
        "point",
        "receiving_key",
        "saved_at",
        "source",
    )

    def __init__(self, point: Point, index: int, receiving_key: bytes, source: Source, now: Instant) -> None:
        self.point = point
        self.index = index
        self.receiving_key = receiving_key
        self.source: Source | None = source  # None: another peer is there now
        self.created = self.heard = now.monotonic
        self.created_wall = now.wall
        self.counter = NO_COUNTER
        self.may_roam = True
        self.saved_at = NEVER


class Table:
    """The keys that are registered, by their 32 bytes, and all that is known of each."""

    def __init__(self, vantages: int) -> None:
        self._vantages = vantages
        self._members: dict[bytes, tuple[Point, ...]] = {}
        self._sessions: dict[int, Session] = {}  # oldest first
        self._at: dict[Source | None, Session] = {}  # confirmed ones of vantage point 0; none at None
        self._moved: dict[Point, None] = {}
        self._unsaved: dict[Point, None] = {}
        self._roaming: dict[Point, None] = {}  # that are to be saved, but were a moment ago

    def admit(self, key: PublicKey) -> None:
        """Once is enough."""
        if key.raw not in self._members:
            self._members[key.raw] = tuple(Point(key, vantage) for vantage in range(self._vantages))

    def dismiss(self, key: PublicKey) -> None:
        """Everything of this key ends now."""
        for point in self._members.pop(key.raw, ()):
            self._forget(point)

    def point(self, key: bytes, vantage: int) -> Point | None:
        """None: the key is not registered."""
        points = self._members.get(key)
        return None if points is None else points[vantage]

    def session(self, index: int) -> Session | None:
        """The session that has this index of ours."""
        return self._sessions.get(index)

    def key_at(self, source: Source) -> PublicKey | None:
        """Who is heard from there at vantage point 0."""
        session = self._at.get(source)
        return None if session is None else session.point.key

    def source_of(self, key: bytes) -> Source | None:
        """From where a key is heard at vantage point 0."""
        points = self._members.get(key)
        return None if points is None else points[0].source

    def begin(self, session: Session) -> None:
        """A handshake was answered: this session waits to be confirmed, in place of one that did."""
        point = session.point
        if point.pending is not None:
            del self._sessions[point.pending.index]
        point.pending = session
        self._sessions[session.index] = session

    def confirm(self, session: Session, source: Source, now: float) -> None:
        """A message under the session's keys came from `source`: the peer has our answer.

        It received that where it was sent. So if another peer is at `source`, this one is taken to be there.
        """
        point = session.point
        before = point.source
        self._end_confirmed(point)
        point.pending = None
        point.confirmed = session
        if not self._is_anothers(point, source, now):
            session.source = source
        self._sit(session)
        self._unsaved[point] = None
        if before != session.source:
            self._moved[point] = None

    def roam(self, session: Session, source: Source, now: float) -> None:
        """A newer message of a confirmed session came from another source."""
        point = session.point
        # Nothing is replayed on a WebSocket, which is heard only if the peer itself has opened it.
        if not (session.may_roam or isinstance(source, WebSource)) or self._is_anothers(point, source, now):
            return
        self._leave(session)
        session.source = source
        self._sit(session)
        self._moved[point] = None
        if now - session.saved_at < SAVED_EACH:
            self._roaming[point] = None
        else:
            session.saved_at = now
            self._unsaved[point] = None

    def restore(self, session: Session) -> None:
        """A confirmed session of another process. It stays where it is until the next handshake.

        `settle` is to be called after the last one.
        """
        point = session.point
        self._end_confirmed(point)
        point.confirmed = session
        session.may_roam = False
        self._sessions[session.index] = session
        self._sit(session)
        self._moved[point] = None

    def settle(self) -> None:
        """Put what was restored in order."""
        self._sessions = {session.index: session for session in sorted(self._sessions.values(), key=_age)}

    def expire(self, now: float) -> None:
        """End all sessions that are too old. To be called each second or so."""
        self._unsaved.update(self._roaming)
        self._roaming = {}
        expired: list[Session] = []
        for session in self._sessions.values():
            if now - session.created <= REJECT_AFTER_TIME:
                break
            expired.append(session)
        for session in expired:
            self._end(session)

    def moved(self) -> list[Point]:
        """Points whose source changed since this was asked last."""
        moved = list(self._moved)
        self._moved = {}
        return moved

    def unsaved(self) -> list[Session]:
        """Confirmed sessions that are new, or moved, since this was asked last."""
        sessions = [point.confirmed for point in self._unsaved if point.confirmed is not None]
        self._unsaved = {}
        return sessions

    def confirmed(self) -> Iterator[Session]:
        """All confirmed sessions, oldest first."""
        return (session for session in self._sessions.values() if session.point.confirmed is session)

    def _is_anothers(self, point: Point, source: Source, now: float) -> bool:
        other = self._at.get(source) if point.vantage == 0 else None
        return other is not None and other.point is not point and now - other.heard < TAKEN_SECONDS

    def _sit(self, session: Session) -> None:
        if session.point.vantage != 0:
            return
        other = self._at.get(session.source)
        if other is not None:
            other.source = None
            self._moved[other.point] = None
        self._at[session.source] = session

    def _leave(self, session: Session) -> None:
        if self._at.get(session.source) is session:
            del self._at[session.source]

    def _end_confirmed(self, point: Point) -> None:
        if point.confirmed is not None:
            self._leave(point.confirmed)
            del self._sessions[point.confirmed.index]
            point.confirmed = None

    def _end(self, session: Session) -> None:
        point = session.point
        if point.confirmed is session:
            self._end_confirmed(point)
            self._moved[point] = None
        else:
            point.pending = None
            del self._sessions[session.index]

    def _forget(self, point: Point) -> None:
        self._end_confirmed(point)
        if point.pending is not None:
            self._end(point.pending)
        self._moved.pop(point, None)
        self._unsaved.pop(point, None)
        self._roaming.pop(point, None)


def _age(session: Session) -> float:
    return session.created

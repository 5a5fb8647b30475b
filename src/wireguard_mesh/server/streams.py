"""All who follow the map: what changed is written to each of them, and nothing is kept for any of them.

A stream is a transport and a few words of state: the version that its reader was told last, or how far through the
whole map it is. What it lacks follows from that, so a reader that is slow, or was away, is simply further behind: as
long as it does not read, nothing is made ready for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from wireguard_mesh.core.pushing import DutyCycle, reconnect_seconds
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.protocol.events import KEEPALIVE, KEEPALIVE_SECONDS, current_event, retry_field
from wireguard_mesh.server.connections import WRITE_SECONDS, GuardedProtocol
from wireguard_mesh.server.pieces import MapPieces, Piece
from wireguard_mesh.server.subscriber import Subscriber

log = logging.getLogger(__name__)

STREAMS_PER_KEY: Final = 3  # one, and those that a reconnecting agent does not know to be dead yet
KEEPALIVE_SLOTS: Final = 15  # a second each: in each one a part of the streams is looked at
# A stream that was written to so lately needs no comment: its slot's next turn is soon enough, with a second to spare.
QUIET_SECONDS: Final = KEEPALIVE_SECONDS - KEEPALIVE_SLOTS - 1
SLICE: Final = 100  # streams written to in one turn of the event loop, some 1.5 ms
CATCHING_UP: Final = 20  # streams that are further behind, likewise
PORTION: Final = 4  # pieces of each of them
_TICK_SECONDS: Final = 1.0
_RETRY_STEP: Final = 100  # streams: as exactly is said how many there are
_BEFORE_FIRST: Final = -1  # chunk


class Hub:
    """All streams. Works in short turns of the event loop, so that other requests are served meanwhile."""

    def __init__(self, snapshot: Snapshot, text_of: Callable[[Peer], bytes]) -> None:
        """`text_of` encodes a record."""
        self._pieces = MapPieces(snapshot, text_of)
        self._slots: list[dict[Subscriber, None]] = [{} for _ in range(KEEPALIVE_SLOTS)]
        self._slot = 0
        self._by_key: dict[PublicKey, list[Subscriber]] = {}
        self._count = 0
        self._life = Piece(KEEPALIVE + retry_field(0.0))
        self._life_count = 0
        self._catching_up: dict[Subscriber, None] = {}  # not paused, and there is something for them
        self._push: list[Subscriber] | None = None  # those that are still to be told of a change, the next one last
        self._push_began = 0.0
        self._push_again = False
        self._push_timer: asyncio.TimerHandle | None = None
        self._duty = DutyCycle()
        self._turn_is_due = False
        self._tick_timer: asyncio.TimerHandle | None = None
        self._stuck: dict[Subscriber, float] = {}  # that do not read, or are to end: since when; the first one first
        self._faults: set[type[Exception]] = set()

    def __len__(self) -> int:
        return self._count

    def open(self, connection: GuardedProtocol, key: PublicKey, since: MapVersion | None, *, is_gzip: bool) -> None:
        """Make a connection a stream: what changed since then is written at once, or the whole map.

        Raises `NotFound` if the key has left since its request was verified, `InvalidValue`, `Unavailable`.
        """
        self._pieces.snapshot.check_follower(key)  # else nothing would ever end the stream
        subscriber = Subscriber(self, key, since, is_gzip=is_gzip)
        if not connection.hand_over(subscriber):
            return
        now = _now()
        if len(self._by_key.get(key, ())) >= STREAMS_PER_KEY:
            self._by_key[key][0].end()
        self._by_key.setdefault(key, []).append(subscriber)
        self._count += 1
        subscriber.slot = self._count % KEEPALIVE_SLOTS
        self._slots[subscriber.slot][subscriber] = None
        subscriber.begin(connection.server_state.default_headers, now)
        subscriber.write(self._sign_of_life(), now)
        if not subscriber.is_paused:
            self._advance(subscriber, now)
        if self._tick_timer is None:
            self._tick_timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    def publish(self, snapshot: Snapshot) -> None:
        """The map is another now."""
        before = self._pieces.version
        for key in self._pieces.follow(snapshot):
            for subscriber in tuple(self._by_key.get(key, ())):
                subscriber.end()
        if self._pieces.version != before:
            self._push_soon()

    def forget(self, subscriber: Subscriber) -> None:
        """It ends: nothing more is written to it. It is shut if what was is not read."""
        if subscriber not in self._slots[subscriber.slot]:
            return
        del self._slots[subscriber.slot][subscriber]
        self._count -= 1
        self._by_key[subscriber.key].remove(subscriber)
        if not self._by_key[subscriber.key]:
            del self._by_key[subscriber.key]
        self._catching_up.pop(subscriber, None)
        self._stuck.setdefault(subscriber, _now())

    def lost(self, subscriber: Subscriber) -> None:
        """Its connection is gone."""
        self.forget(subscriber)
        self._stuck.pop(subscriber, None)

    def paused(self, subscriber: Subscriber) -> None:
        """It is passed over until it has read."""
        self._catching_up.pop(subscriber, None)
        self._stuck.setdefault(subscriber, _now())

    def resumed(self, subscriber: Subscriber) -> None:
        """What it missed follows."""
        if subscriber in self._slots[subscriber.slot]:  # else it ends
            self._stuck.pop(subscriber, None)
            self._catch_up(subscriber)

    def _push_soon(self) -> None:
        if self._push is not None:
            self._push_again = True
        elif self._push_timer is None and self._count:
            delay = self._duty.delay(_now())
            self._push_timer = asyncio.get_running_loop().call_later(delay, self._begin_push)

    def _begin_push(self) -> None:
        self._push_timer = None
        self._push_again = False
        self._push = [subscriber for slot in self._slots for subscriber in slot]
        self._push_began = _now()
        self._continue_push(self._push, self._push_began)
        self._turn_soon()

    def _continue_push(self, subscribers: list[Subscriber], now: float) -> None:
        for _ in range(min(SLICE, len(subscribers))):
            subscriber = subscribers.pop()
            is_behind = subscriber.chunk is None and subscriber.version != self._pieces.version
            if is_behind and not subscriber.is_paused and subscriber in self._slots[subscriber.slot]:
                self._advance(subscriber, now)

    def _end_push(self, now: float) -> None:
        self._push = None
        self._duty.pushed(self._push_began, now)
        if self._push_again:
            self._push_soon()

    def _catch_up(self, subscriber: Subscriber) -> None:
        self._catching_up[subscriber] = None
        self._turn_soon()

    def _turn_soon(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        now = _now()
        if self._push:
            self._continue_push(self._push, now)
        elif self._push is not None:  # what the last turn wrote is sent by now
            self._end_push(now)
        for _ in range(min(CATCHING_UP, len(self._catching_up))):
            subscriber = next(iter(self._catching_up))
            del self._catching_up[subscriber]
            self._advance(subscriber, now)
        if self._push is not None or self._catching_up:
            self._turn_soon()

    def _advance(self, subscriber: Subscriber, now: float) -> None:
        # A fault of ours in one of them must not end the turn of all others; nor be told ten thousand times.
        try:
            for _ in range(PORTION):
                piece = self._next_piece(subscriber)
                if piece is None:
                    return
                subscriber.write(piece, now)
                if subscriber.is_paused:
                    return
            self._catch_up(subscriber)
        except Exception as error:
            if type(error) not in self._faults:
                self._faults.add(type(error))
                log.exception("a stream of the map failed")
            subscriber.transport.abort()

    def _next_piece(self, subscriber: Subscriber) -> Piece | None:
        version, head = subscriber.version, self._pieces.version
        if version is None or version.epoch != head.epoch:
            return self._begin_whole(subscriber)
        if subscriber.chunk is not None:
            return self._next_of_whole(subscriber, version, subscriber.chunk)
        if version == head and subscriber.is_begun:
            return None
        step = self._pieces.step_after(version)
        if step is None:
            return self._begin_whole(subscriber)
        subscriber.version, piece = step
        subscriber.is_begun = True
        return piece

    def _begin_whole(self, subscriber: Subscriber) -> Piece:
        subscriber.version = self._pieces.version
        subscriber.chunk = _BEFORE_FIRST
        return self._pieces.beginning()

    def _next_of_whole(self, subscriber: Subscriber, began: MapVersion, last: int) -> Piece:
        chunk = self._pieces.chunk_after(last)
        if chunk is None:
            subscriber.chunk = None
            subscriber.is_begun = True
            return Piece(current_event(began))
        subscriber.chunk, piece = chunk
        return piece

    def _sign_of_life(self) -> Piece:
        count = -(-self._count // _RETRY_STEP) * _RETRY_STEP
        if count != self._life_count:
            self._life_count = count
            self._life = Piece(KEEPALIVE + retry_field(reconnect_seconds(count)))
        return self._life

    def _tick(self) -> None:
        now = _now()
        self._slot = (self._slot + 1) % KEEPALIVE_SLOTS
        for subscriber in self._slots[self._slot]:
            if now - subscriber.sent >= QUIET_SECONDS and not subscriber.is_paused:
                subscriber.write(self._sign_of_life(), now)
        for subscriber, since in tuple(self._stuck.items()):
            if now - since < WRITE_SECONDS:
                break
            subscriber.transport.abort()
            del self._stuck[subscriber]
        self._tick_timer = None
        if self._count or self._stuck:
            self._tick_timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)


def _now() -> float:
    return asyncio.get_running_loop().time()

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

from wireguard_mesh.core.pushing import Pace, reconnect_seconds
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.protocol.events import KEEPALIVE, current_event, retry_field
from wireguard_mesh.server.connections import WRITE_SECONDS, GuardedProtocol
from wireguard_mesh.server.follower import Follower
from wireguard_mesh.server.pieces import MapPieces, Piece

log = logging.getLogger(__name__)

STREAMS_PER_KEY: Final = 3  # one, and those that a reconnecting agent does not know to be dead yet
KEEPALIVE_SLOTS: Final = 15  # a second each: in each one a part of the streams is looked at
QUIET_SECONDS: Final = 4.0  # a stream that was written to so lately needs no comment; with the slots below 20
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
        self._slots: list[dict[Follower, None]] = [{} for _ in range(KEEPALIVE_SLOTS)]
        self._slot = 0
        self._by_key: dict[PublicKey, list[Follower]] = {}
        self._count = 0
        self._life = Piece(KEEPALIVE + retry_field(0.0))
        self._life_count = 0
        self._catching_up: dict[Follower, None] = {}  # not paused, and there is something for them
        self._push: list[Follower] | None = None  # those that are still to be told of a change, the next one last
        self._push_began = 0.0
        self._push_again = False
        self._push_timer: asyncio.TimerHandle | None = None
        self._pace = Pace()
        self._turn_is_due = False
        self._tick_timer: asyncio.TimerHandle | None = None
        self._stuck: dict[Follower, float] = {}  # that do not read, or are to end: since when; the first one first
        self._faults: set[type[Exception]] = set()

    def __len__(self) -> int:
        return self._count

    def open(self, connection: GuardedProtocol, key: PublicKey, since: MapVersion | None, *, is_gzip: bool) -> None:
        """Make a connection a stream: what changed since then is written at once, or the whole map.

        Raises `NotFound` if the key has left since its request was verified, `InvalidValue`, `Unavailable`.
        """
        self._pieces.snapshot.record(key)  # else nothing would ever end the stream
        follower = Follower(self, key, since, is_gzip=is_gzip)
        if not connection.hand_over(follower):
            return
        now = _now()
        if len(self._by_key.get(key, ())) >= STREAMS_PER_KEY:
            self._by_key[key][0].end()
        self._by_key.setdefault(key, []).append(follower)
        self._count += 1
        follower.slot = self._count % KEEPALIVE_SLOTS
        self._slots[follower.slot][follower] = None
        follower.begin(connection.server_state.default_headers, now)
        follower.write(self._sign_of_life(), now)
        if not follower.is_paused:
            self._advance(follower, now)
        if self._tick_timer is None:
            self._tick_timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    def publish(self, snapshot: Snapshot) -> None:
        """The map is another now."""
        before = self._pieces.version
        for key in self._pieces.follow(snapshot):
            for follower in tuple(self._by_key.get(key, ())):
                follower.end()
        if self._pieces.version != before:
            self._push_soon()

    def forget(self, follower: Follower) -> None:
        """It ends: nothing more is written to it. It is shut if what was is not read."""
        if follower not in self._slots[follower.slot]:
            return
        del self._slots[follower.slot][follower]
        self._count -= 1
        self._by_key[follower.key].remove(follower)
        if not self._by_key[follower.key]:
            del self._by_key[follower.key]
        self._catching_up.pop(follower, None)
        self._stuck.setdefault(follower, _now())

    def lost(self, follower: Follower) -> None:
        """Its connection is gone."""
        self.forget(follower)
        self._stuck.pop(follower, None)

    def paused(self, follower: Follower) -> None:
        """It is passed over until it has read."""
        self._catching_up.pop(follower, None)
        self._stuck.setdefault(follower, _now())

    def resumed(self, follower: Follower) -> None:
        """What it missed follows."""
        if follower in self._slots[follower.slot]:  # else it ends
            self._stuck.pop(follower, None)
            self._catch_up(follower)

    def _push_soon(self) -> None:
        if self._push is not None:
            self._push_again = True
        elif self._push_timer is None and self._count:
            delay = self._pace.delay(_now())
            self._push_timer = asyncio.get_running_loop().call_later(delay, self._begin_push)

    def _begin_push(self) -> None:
        self._push_timer = None
        self._push_again = False
        self._push = [follower for slot in self._slots for follower in slot]
        self._push_began = _now()
        self._continue_push(self._push, self._push_began)
        self._turn_soon()

    def _continue_push(self, followers: list[Follower], now: float) -> None:
        for _ in range(min(SLICE, len(followers))):
            follower = followers.pop()
            is_behind = follower.chunk is None and follower.version != self._pieces.version
            if is_behind and not follower.is_paused and follower in self._slots[follower.slot]:
                self._advance(follower, now)

    def _end_push(self, now: float) -> None:
        self._push = None
        self._pace.pushed(self._push_began, now)
        if self._push_again:
            self._push_soon()

    def _catch_up(self, follower: Follower) -> None:
        self._catching_up[follower] = None
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
            follower = next(iter(self._catching_up))
            del self._catching_up[follower]
            self._advance(follower, now)
        if self._push is not None or self._catching_up:
            self._turn_soon()

    def _advance(self, follower: Follower, now: float) -> None:
        # A fault of ours in one of them must not end the turn of all others; nor be told ten thousand times.
        try:
            for _ in range(PORTION):
                piece = self._next_piece(follower)
                if piece is None:
                    return
                follower.write(piece, now)
                if follower.is_paused:
                    return
            self._catch_up(follower)
        except Exception as error:
            if type(error) not in self._faults:
                self._faults.add(type(error))
                log.exception("a stream of the map failed")
            follower.transport.abort()

    def _next_piece(self, follower: Follower) -> Piece | None:
        version, head = follower.version, self._pieces.version
        if version is None or version.epoch != head.epoch:
            return self._begin_whole(follower)
        if follower.chunk is not None:
            return self._next_of_whole(follower, version, follower.chunk)
        if version == head and follower.is_begun:
            return None
        step = self._pieces.step_after(version)
        if step is None:
            return self._begin_whole(follower)
        follower.version, piece = step
        follower.is_begun = True
        return piece

    def _begin_whole(self, follower: Follower) -> Piece:
        follower.version = self._pieces.version
        follower.chunk = _BEFORE_FIRST
        return self._pieces.beginning()

    def _next_of_whole(self, follower: Follower, began: MapVersion, last: int) -> Piece:
        chunk = self._pieces.chunk_after(last)
        if chunk is None:
            follower.chunk = None
            follower.is_begun = True
            return Piece(current_event(began))
        follower.chunk, piece = chunk
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
        for follower in self._slots[self._slot]:
            if now - follower.sent >= QUIET_SECONDS and not follower.is_paused:
                follower.write(self._sign_of_life(), now)
        for follower, since in tuple(self._stuck.items()):
            if now - since < WRITE_SECONDS:
                break
            follower.transport.abort()
            del self._stuck[follower]
        self._tick_timer = None
        if self._count or self._stuck:
            self._tick_timer = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)


def _now() -> float:
    return asyncio.get_running_loop().time()

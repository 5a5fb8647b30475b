"""Pings relays: from sockets of its own, since WireGuard's socket is WireGuard's. `core.relay_pings` says when.

Where no relay is to be pinged there is no socket, and nothing is done but to ask now and then whether there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.dial import put_mark
from wireguard_mesh.core.relay_choice import RelayChoice
from wireguard_mesh.core.relay_pings import ANSWER_TIME
from wireguard_mesh.core.relay_pings import Ping as Due
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.protocol.pings import MAX_SKEW_SECONDS, Ping, PingKeys, Pong, is_pong

LATE: Final = 4.0  # seconds after which an answer means nothing any more
MAX_ASLEEP: Final = 1.0  # seconds until it is asked again what is due
MAX_READ: Final = 128  # bytes; no pong is as long
MAX_BATCH: Final = 32  # datagrams read before others have their turn
MAX_KEYS: Final = 64  # of vantage points, kept
_MICRO: Final = 1_000_000
_NEVER_TAKEN: Final = MAX_SKEW_SECONDS * 1_000_000  # microseconds that a ping is too early by
_TIME_OF_PONG: Final = struct.Struct("<4xQ")  # behind its type; believed only once the whole is verified

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Asked:
    """A ping that was sent. `is_missed`: it was given up, though an answer may come yet."""

    due: Due
    keys: PingKeys = field(repr=False)
    sent_at: float
    is_missed: bool = False


class RelayPinger:
    """`mark` is put on its packets, as on those of the connection to the server. `on_news` is called when `relays` was
    told something; `offset` gives the seconds that the relays' clock is ahead of this machine's."""

    def __init__(
        self,
        relays: RelayChoice,
        private_key: PrivateKey,
        clock: Clock,
        *,
        offset: Callable[[], float],
        on_news: Callable[[], None],
        mark: int = 0,
    ) -> None:
        self._relays = relays
        self._private_key = private_key
        self._public_key = private_key.public_key.raw
        self._clock = clock
        self._offset = offset
        self._on_news = on_news
        self._mark = mark
        self._keys: dict[PublicKey, PingKeys] = {}
        self._asked: dict[int, _Asked] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._last = 0
        self._wake = asyncio.Event()
        self._fault = ""

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Those that are open: one for each version of IP that is used, none where nothing is to be pinged."""
        return tuple(self._sockets.values())

    def wake(self) -> None:
        """Something else may be due than was."""
        self._wake.set()

    async def run(self) -> NoReturn:
        """Ping what is due, for ever."""
        try:
            while True:
                self._wake.clear()
                wait = self._ping_safely()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
        finally:
            self._close()

    def _ping_safely(self) -> float:
        """Seconds until it is to be done again."""
        try:
            return self._ping_what_is_due()
        except Exception as error:
            # A fault of ours: tunnels stand, and the next map may well be another.
            if repr(error) != self._fault:
                log.exception("relays cannot be pinged by a fault of this program, will try again")
            self._fault = repr(error)
            return MAX_ASLEEP

    def _ping_what_is_due(self) -> float:
        now = self._clock()
        for ping in self._relays.pings(now):
            self._send(ping, now.wall)
        next_at = self._relays.next_ping_at(now)
        if next_at == float("inf") and not self._asked:
            self._close()
        # Whatever changes in between is found at the next turn.
        return min(MAX_ASLEEP, next_at - now.monotonic)

    def _send(self, due: Due, wall: float) -> None:
        self._last = moment = self._next_moment(wall + self._offset())
        keys = self._keys_of(due.public_key)
        self._asked[moment] = _Asked(due, keys, time.perf_counter())
        loop = asyncio.get_running_loop()
        loop.call_later(ANSWER_TIME, self._miss, moment)
        loop.call_later(LATE, self._asked.pop, moment, None)
        with contextlib.suppress(OSError):  # no route there, or not this family: no answer will come
            where = (str(due.endpoint.address), due.endpoint.port)
            self._socket(due.endpoint.address.version).sendto(Ping(self._public_key, moment).build(keys), where)

    def _next_moment(self, relays_time: float) -> int:
        """The time of the next ping: later than the last one's, unless no relay can have taken that one: this machine's
        clock was far ahead then."""
        moment = int(relays_time * _MICRO)
        return moment if self._last > moment + _NEVER_TAKEN else max(self._last + 1, moment)

    def _keys_of(self, public_key: PublicKey) -> PingKeys:
        if public_key not in self._keys:
            if len(self._keys) >= MAX_KEYS:
                self._keys.clear()
            self._keys[public_key] = PingKeys(self._private_key.exchange(public_key))
        return self._keys[public_key]

    def _miss(self, moment: int) -> None:
        asked = self._asked.get(moment)
        if asked is not None:
            asked.is_missed = True
            self._relays.missed(asked.due.relay, asked.due.vantage, self._clock())
            self._tell()

    def _socket(self, version: int) -> socket.socket:
        if version not in self._sockets:
            made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            made.setblocking(False)
            put_mark(made, self._mark)
            asyncio.get_running_loop().add_reader(made, self._read, made)
            self._sockets[version] = made
        return self._sockets[version]

    def _read(self, receiving: socket.socket) -> None:
        for _ in range(MAX_BATCH):
            try:
                datagram = receiving.recv(MAX_READ)
            except OSError:  # nothing more, or what an earlier ping came to
                return
            self._take(datagram)

    def _take(self, datagram: bytes) -> None:
        """Something arrived, of whomever."""
        if not is_pong(datagram):
            return
        moment = _TIME_OF_PONG.unpack_from(datagram)[0]
        asked = self._asked.get(moment)
        if asked is None:
            return
        try:
            pong = Pong.parse(datagram, asked.keys)
        except InvalidValue:
            return
        del self._asked[moment]
        self._note(asked.due, time.perf_counter() - asked.sent_at, pong.mapped)

    def _note(self, due: Due, seconds: float, mapped: Endpoint | None) -> None:
        if mapped is None:
            return  # a relay says this over TCP only
        log.debug("stage=pong relay=%s vantage=%d ms=%.1f", due.relay, due.vantage, seconds * 1000)
        self._relays.ponged(due.relay, due.vantage, seconds, mapped, self._clock())
        self._tell()

    def _tell(self) -> None:
        self._wake.set()
        self._on_news()

    def _close(self) -> None:
        for made in self._sockets.values():
            asyncio.get_running_loop().remove_reader(made)
            made.close()
        self._sockets.clear()

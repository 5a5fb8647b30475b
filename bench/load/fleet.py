"""All clients of one mesh: they register, keep their streams, and say that they live."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from bench.load.calls import Calls
from bench.load.delays import Change
from bench.load.maps import digest_of
from bench.load.members import Member, Refused, make_member
from bench.load.streams import Stream, Traffic
from bench.load.wire import BadAnswer
from wireguard_mesh.core.liveness import HEARTBEAT_SECONDS
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.protocol import api

T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS: Final = 256  # to one server, for short requests at once; only as many as needed are open
REGISTERING: Final = 64  # at once
CONNECTING: Final = 256  # streams at once that are not current yet
_COMPARE_AGAIN: Final = 0.5  # seconds; a fresh map costs the server something
_TICK: Final = 0.1  # seconds: how evenly heartbeats are spread
_PLACES: Final = round(HEARTBEAT_SECONDS / _TICK)
_STRIDE: Final = 7  # without a common divisor with the places: few members are spread as well


class Fleet:
    """Clients of the servers on `ports` of loopback. Several servers are given clients in turn."""

    def __init__(self, ports: tuple[int, ...], connections: int = CONNECTIONS) -> None:
        self.ports = ports
        self.traffic = Traffic(ports)
        self.streams: dict[Stream, None] = {}  # of those that did not leave
        self.calls = [Calls(port, connections) for port in ports]
        self.beats: Counter[str] = Counter()
        self.beat_seconds = array("d")  # of each heartbeat that was answered
        self._info: api.ServerInfo | None = None
        self._made = self._admitted = 0
        self._places: list[list[Member]] = [[] for _ in range(_PLACES)]
        self._beating: set[asyncio.Task[None]] = set()

    async def learn(self) -> None:
        """Ask the server who it is; to be called first."""
        request = b"GET /v1/server HTTP/1.1\r\nhost: server\r\n\r\n"
        self._info = api.server_info.decode((await self.calls[0].call(lambda: request)).body)

    def new_member(self) -> Member:
        """A client that nobody knows yet."""
        assert self._info is not None
        self._made += 1
        return make_member(self._made, self._info)

    def calls_of(self, number: int) -> Calls:
        """By which the client with this number calls."""
        return self.calls[number % len(self.calls)]

    def lose(self, port: int) -> None:
        """That server is gone: short requests go to the others."""
        self.calls = [calls for calls in self.calls if calls.port != port]

    async def register(self, members: Sequence[Member], at_once: int = REGISTERING) -> list[api.RegisterResponse]:
        """All of them, so many at once."""

        async def register(numbered: tuple[int, Member]) -> api.RegisterResponse:
            number, member = numbered
            return await member.register(self.calls_of(number))

        return await together(register, list(enumerate(members)), at_once)

    async def connect(self, members: Sequence[Member]) -> None:
        """Their streams, `CONNECTING` at once; returns when all are current."""
        await together(Stream.open, [self.add(member) for member in members], CONNECTING)

    def add(self, member: Member) -> Stream:
        """Its stream, which is to be opened."""
        stream = Stream(member, self.traffic, len(self.streams))
        self.streams[stream] = None
        return stream

    def admit(self, member: Member) -> None:
        """From now on it beats."""
        self._places[self._admitted * _STRIDE % _PLACES].append(member)
        self._admitted += 1

    def drop(self, stream: Stream) -> None:
        """It leaves: it beats no more, and does not come back when the server ends its stream."""
        stream.member.has_left = True
        del self.streams[stream]

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait until it holds; False if it does not `within` so many seconds."""
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_TICK)
        return True

    async def fresh_digest(self) -> tuple[str, int]:
        """Of the whole map as the server gives it now, and the bytes that it took."""
        stream = next(stream for stream in self.streams if stream.is_current)
        answer = await stream.member.ask(self.calls[0], "GET", "/v1/map")
        return digest_of(api.map_update.decode(answer.body)), len(answer.body)

    async def differing(self, within: float) -> tuple[int, str]:
        """How many clients have another map than a fresh one, once they had time to get it; and what is wrong."""
        deadline = time.monotonic() + within
        await self.until(lambda: len({stream.state.version for stream in self.streams}) <= 1, within)
        while True:
            fresh, _ = await self.fresh_digest()
            wrong = [stream for stream in self.streams if stream.state.digest != fresh]
            if not wrong:
                return 0, ""
            if time.monotonic() > deadline:
                return len(wrong), f"a fresh map is {fresh}, {wrong[0].member.hostname} has {wrong[0].state.digest}"
            await asyncio.sleep(_COMPARE_AGAIN)

    async def wait_for(self, change: Change, deliveries: int, within: float) -> bool:
        """Wait until a change came to so many clients; False if it does not `within` so many seconds."""
        deadline = time.monotonic() + within
        while change.deliveries < deliveries:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_TICK / 10)
        return True

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Meanwhile all beat each `HEARTBEAT_SECONDS`, and give up streams that are silent."""
        task = asyncio.get_running_loop().create_task(self._live())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, *self._beating, return_exceptions=True)

    async def _live(self) -> None:
        begin, tick = time.monotonic(), 0
        while True:
            place = self._places[tick % _PLACES] = [
                member for member in self._places[tick % _PLACES] if not member.has_left
            ]
            for number, member in enumerate(place):
                if member.is_beating:
                    self.beats["late"] += 1  # no agent beats again while it waits for the answer
                    continue
                task = asyncio.get_running_loop().create_task(self._beat(member, number))
                self._beating.add(task)
                task.add_done_callback(self._beating.discard)
            if not tick % round(1 / _TICK):
                self._check()
            tick += 1
            await asyncio.sleep(max(0.0, begin + tick * _TICK - time.monotonic()))

    async def _beat(self, member: Member, number: int) -> None:
        begin = time.monotonic()
        member.is_beating = True
        try:
            await member.beat(self.calls_of(number))
        except Refused as error:
            if not member.has_left:
                self.beats["refused"] += 1
                self.traffic.faults.append(str(error))
        except (OSError, MeshError, BadAnswer):
            self.beats["lost"] += 1  # the server is down: the next one will come through
        else:
            self.beats["answered"] += 1
            self.beat_seconds.append(time.monotonic() - begin)
        finally:
            member.is_beating = False

    def _check(self) -> None:
        now = time.monotonic()
        for stream in self.streams:
            stream.check(now)

    def close(self) -> None:
        """End all streams and connections."""
        for stream in self.streams:
            stream.close()
        for calls in self.calls:
            calls.close()


async def together(work: Callable[[T], Awaitable[R]], items: Sequence[T], at_once: int) -> list[R]:
    """The results of `work` for each item, in their order, with so many under way at any time."""
    results: dict[int, R] = {}
    left = iter(enumerate(items))

    async def worker() -> None:
        for index, item in left:
            results[index] = await work(item)

    await asyncio.gather(*(worker() for _ in range(min(at_once, len(items)))))
    return [results[index] for index in range(len(items))]

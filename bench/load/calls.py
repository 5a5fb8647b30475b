"""Requests with short answers, of all clients, over a few connections that are kept alive."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from bench.load.wire import HEAD_END, MAX_HEAD, BadAnswer, Head

ANSWER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    head: Head
    body: bytes


class Calls:
    """As many connections to one port of loopback as asked; a call waits until one of them is free."""

    def __init__(self, port: int, connections: int) -> None:
        self.port = port
        self._free: deque[_Connection] = deque(_Connection() for _ in range(connections))
        self._waiting: deque[asyncio.Future[_Connection]] = deque()
        self.received = 0

    async def call(self, make_request: Callable[[], bytes]) -> Answer:
        """The request is made when it can be sent: a signature has a time. Raises `OSError` if there is no answer."""
        connection = await self._take()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await connection.call(self.port, make_request)
        except BadAnswer as error:
            connection.close()
            raise ConnectionError(str(error)) from None
        except BaseException:
            connection.close()
            raise
        finally:
            self._give_back(connection)
        self.received += len(answer.body)
        return answer

    def close(self) -> None:
        """Close those connections that are free; a call that is under way ends by itself."""
        for connection in self._free:
            connection.close()

    async def _take(self) -> "_Connection":
        if self._free:
            return self._free.pop()  # the one used last: when there is little to do, few are kept open
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        connection: _Connection = await waiting
        return connection

    def _give_back(self, connection: "_Connection") -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return
        self._free.append(connection)


class _Connection(asyncio.Protocol):
    __slots__ = ("_answer", "_data", "_head", "_transport")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._data = b""
        self._head: Head | None = None

    async def call(self, port: int, make_request: Callable[[], bytes]) -> Answer:
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            await loop.create_connection(lambda: self, "127.0.0.1", port)
        assert self._transport is not None
        answer = self._answer = loop.create_future()
        self._transport.write(make_request())
        done: Answer = await answer
        return done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport, self._data, self._head = cast(asyncio.Transport, transport), b"", None

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._fail(ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            self._read()
        except BadAnswer as error:
            self._fail(ConnectionError(str(error)))
            self.close()

    def _read(self) -> None:
        if self._head is None:
            head, separator, rest = self._data.partition(HEAD_END)
            if not separator:
                if len(head) > MAX_HEAD:
                    raise BadAnswer("a head without an end")
                return
            self._head, self._data = Head(head), rest
        if len(self._data) < self._head.length:
            return
        answer, self._answer = self._answer, None
        if answer is None or len(self._data) > self._head.length:
            raise BadAnswer("an answer that nobody asked for")
        if not answer.done():
            answer.set_result(Answer(self._head, self._data))
        if self._head.closes:
            self.close()
        self._data, self._head = b"", None

    def _fail(self, error: OSError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)

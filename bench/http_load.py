"""A small HTTP/1.1 load generator: ready-made requests over kept-alive connections, as fast as they are answered.

Its requests are bytes made before the clock starts, so that it costs little beside the server that it measures.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

CONNECTION_ERRORS = (ConnectionError, asyncio.IncompleteReadError)


@dataclass(slots=True)
class Answers:
    """What came back: `bodies` by the request's index, of those answered with 200.

    `reached` is set when there are `milestone` of them.
    """

    bodies: dict[int, bytes] = field(default_factory=dict)
    refused: int = 0
    milestone: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, index: int, status: int, body: bytes) -> None:
        """Count one answer."""
        if status != HTTPStatus.OK:
            self.refused += 1
            return
        self.bodies[index] = body
        if len(self.bodies) == self.milestone:
            self.reached.set()


def request(method: str, target: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", "host: server", f"content-length: {len(body)}"]
    if body:
        lines.append("content-type: application/json")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def send_all(port: int, requests: Sequence[bytes], connections: int, answers: Answers) -> None:
    """Send all requests to loopback and fill `answers`; ends early, without an error, if the server dies."""
    work = iter(enumerate(requests))
    await asyncio.gather(*(_connection(port, work, answers) for _ in range(connections)))


async def _connection(port: int, work: Iterator[tuple[int, bytes]], answers: Answers) -> None:
    with contextlib.suppress(*CONNECTION_ERRORS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for index, data in work:
            writer.write(data)
            answers.add(index, *await _answer(reader))
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)

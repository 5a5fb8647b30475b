"""One HTTP/1.1 connection: h11 reads and writes the messages, this moves the bytes and bounds them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

import h11
import msgspec

from wireguard_mesh.model.endpoints import Address

MAX_HEAD: Final = 16 * 1024  # bytes of status line and headers
MAX_INTERIM: Final = 8  # answers of kind 1xx (RFC 9110 section 15.2) before the one that counts
_READ: Final = 64 * 1024
CLOSED: Final = "closed before it answered"


class Head(msgspec.Struct, frozen=True):
    """How an answer begins; names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]


class Stale(Exception):
    """A kept connection was closed by the other side before it answered anything."""


class Connection:
    """Made of asyncio's two halves. Everything raises `OSError` or `h11.ProtocolError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._used = False
        self._is_read = True  # whether there is nothing more to read of an answer

    @property
    def is_open(self) -> bool:
        """Whether the other side has not closed it, as far as is known."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    @property
    def source(self) -> Address | None:
        """This machine's address on it; None once it is closed."""
        name = self._writer.get_extra_info("sockname")
        return ip_address(name[0].partition("%")[0]) if name else None

    async def ask(self, head: h11.Request, body: bytes = b"") -> Head:
        """Send a request, and read how the answer begins. Raises `Stale` too."""
        out = self._http.send(head) or b""
        if body:
            out += self._http.send(h11.Data(data=body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        try:
            self._writer.write(out)
            await self._writer.drain()
            answer = await self._next_event()
        except (OSError, h11.RemoteProtocolError) as error:
            if self._used and self._http.their_state is h11.SEND_RESPONSE:
                raise Stale from error
            raise
        for _ in range(MAX_INTERIM):
            if not isinstance(answer, h11.InformationalResponse) or _is_switch(answer):
                break
            answer = await self._next_event()
        if isinstance(answer, h11.InformationalResponse) and not _is_switch(answer):
            raise h11.RemoteProtocolError(f"more than {MAX_INTERIM} interim answers")
        if not isinstance(answer, (h11.Response, h11.InformationalResponse)):
            raise h11.RemoteProtocolError("the connection was closed before an answer")
        self._used = True
        self._is_read = False
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        return Head(answer.status_code, headers)

    async def some(self) -> bytes:
        """What of the answer's body comes next, all that came together; nothing at its end."""
        found = bytearray()
        while not self._is_read:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if found:
                    break
                await self._receive()
            elif isinstance(event, h11.Data):
                found += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._is_read = True
            else:
                raise h11.RemoteProtocolError("the connection was closed within an answer")
        return bytes(found)

    async def body(self, limit: int) -> bytes:
        """All of it. More than `limit` bytes are a `h11.RemoteProtocolError`."""
        body = bytearray()
        while piece := await self.some():
            body += piece
            if len(body) > limit:
                raise h11.RemoteProtocolError(f"the answer is longer than {limit} bytes")
        return bytes(body)

    def switched(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """After an answer 101: both halves for the other protocol, and what was read of that already. `close` still
        lets go of it."""
        return self._reader, self._writer, self._http.trailing_data[0]

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            await self._receive()
        return event

    async def _receive(self) -> None:
        data = await self._reader.read(_READ)
        if not data and self._http.their_state is h11.SEND_RESPONSE:
            raise ConnectionResetError(CLOSED)
        self._http.receive_data(data)

    def finish(self) -> bool:
        """Make it ready for the next exchange; False if it cannot have one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def close(self) -> None:
        """Let go of it."""
        self._writer.close()


def _is_switch(answer: h11.InformationalResponse) -> bool:
    """Whether no answer follows, but another protocol (RFC 9110 section 7.8)."""
    return bool(answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS)

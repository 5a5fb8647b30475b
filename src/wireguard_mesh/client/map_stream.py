"""What comes over the stream of the map, in the portions in which it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import msgspec

from wireguard_mesh.client.http import Stream
from wireguard_mesh.core.following import MapReceiver
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol import events
from wireguard_mesh.protocol.api import MapUpdate
from wireguard_mesh.protocol.events import EventParser


class Heard(msgspec.Struct, frozen=True):
    """What one portion brought: how many events, and the updates that they completed. `is_complete`: no step is left
    half done. `spread`: seconds over which the server wants reconnects to be spread, None if it did not say."""

    events: int
    updates: tuple[MapUpdate, ...]
    is_complete: bool
    spread: float | None

    @property
    def version(self) -> MapVersion | None:
        """Where the stream is after it; None if it completed nothing."""
        return self.updates[-1].version if self.updates else None


async def listen(stream: Stream) -> AsyncGenerator[Heard, None]:
    """Until the server ends it. Raises `Unavailable` for a connection that breaks, and for what is no such stream."""
    parser, receiver = EventParser(), MapReceiver()
    is_complete = False
    async with contextlib.aclosing(stream.pieces()) as pieces:
        async for piece in pieces:
            try:
                found = parser.feed(piece)
                updates = [update for event in found if (update := receiver.take(event)) is not None]
            except InvalidValue as error:
                raise Unavailable(f"what came by stream cannot be read ({error.message})") from None
            if found:
                is_complete = found[-1].name == events.CURRENT
            yield Heard(len(found), tuple(updates), is_complete, parser.retry)

"""The map's stream as pieces that are encoded once for all who read it.

A piece is the final bytes on the wire: an HTTP chunk (RFC 9112, section 7.1) of events, as they are or deflated. What
is deflated is a row of blocks that begins and ends at a byte and refers to nothing outside (RFC 1951; zlib's flush),
after one gzip header at the start of a stream (RFC 1952). So pieces go to all streams, in any order, and the server
keeps neither a compressor nor a queue for a stream. The gzip trailer is never sent: a stream ends with its last chunk.

Deflating 256 records (69 kB) takes 0.27 ms at zlib's level 1 for 74 bytes a record, 0.5 ms at level 5 for 67, and
2.2 ms at level 9 for 66.
"""

from __future__ import annotations

import bisect
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from wireguard_mesh.core.changes import can_follow
from wireguard_mesh.core.pushing import Step, next_step
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.protocol.events import (
    CHUNK_PEERS,
    current_event,
    relays_event,
    remove_event,
    snapshot_event,
    upsert_event,
)

LEVEL: Final = 5
STEPS_KEPT: Final = 64  # of different beginnings; streams that keep up share very few
_STORED_BELOW: Final = 100  # bytes: deflating so few saves nothing
_RAW: Final = -15  # zlib's window bits: 32 kB, no header and no trailer
_GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # RFC 1952, section 2.3: deflate, and nothing else said


def http_chunk(data: bytes) -> bytes:
    """`data` as one chunk of a body whose length nobody knows."""
    return b"%x\r\n%b\r\n" % (len(data), data)


GZIP_START: Final = http_chunk(_GZIP_HEADER)
LAST_CHUNK: Final = b"0\r\n\r\n"


class Piece:
    """Some events, in each of the two forms that a stream may have; each is made when it is first asked for."""

    __slots__ = ("_deflated", "_plain", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._plain: bytes | None = None
        self._deflated: bytes | None = None

    def wire(self, *, is_gzip: bool) -> bytes:
        """The bytes to write."""
        if not is_gzip:
            if self._plain is None:
                self._plain = http_chunk(self._text)
            return self._plain
        if self._deflated is None:
            self._deflated = http_chunk(_deflate(self._text))
        return self._deflated


class MapPieces:
    """The pieces of the map as it is now: the whole of it, and what follows on each revision.

    The whole map is kept by `CHUNK_PEERS` consecutive host numbers a piece, so a change makes one piece stale. A stream
    that reads the whole map takes the pieces as they are when it is their turn, at whatever revision: every record in
    them is at least as new as the revision at which the stream began, and what changed since then follows as a step.
    """

    def __init__(self, snapshot: Snapshot, text_of: Callable[[Peer], bytes]) -> None:
        """`text_of` encodes a record."""
        self.snapshot = snapshot
        self.version = snapshot.version
        self._text_of = text_of
        self._chunks: dict[int, dict[int, Peer]] = {}  # by number of the chunk, then of the host
        self._order: list[int] = []
        self._whole: dict[int, Piece] = {}  # of chunks that did not change since it was made
        self._steps: dict[int, tuple[MapVersion, Piece] | None] = {}  # by the revision that they follow on
        self._fill()

    def follow(self, snapshot: Snapshot) -> Sequence[PublicKey]:
        """The map is another now; costs as much as changed. Returns the keys of those that left, relays too."""
        before, self.snapshot = self.snapshot, snapshot
        relays = {relay.public_key for relay in before.relays} - {relay.public_key for relay in snapshot.relays}
        since, self.version = self.version, snapshot.version
        self._steps.clear()
        if not can_follow(snapshot, since):
            self._fill()
            return [*relays, *(key for key in before.records if key not in snapshot.records)]
        gone = [before.keys[peer_id] for peer_id in snapshot.removed_since(since.revision) if peer_id in before.keys]
        for key in gone:
            self._take_out(before.records[key].number)
        for record in snapshot.changed_since(since.revision):
            self._put(record.number, record.peer)
        return [*relays, *(key for key in gone if key not in snapshot.records)]

    def beginning(self) -> Piece:
        """What comes before the chunks of the whole map."""
        return Piece(snapshot_event(self.snapshot.network) + relays_event(self.snapshot.relays))

    def chunk_after(self, number: int) -> tuple[int, Piece] | None:
        """The next chunk of the whole map, and its number; None after the last one."""
        index = bisect.bisect_right(self._order, number)
        if index == len(self._order):
            return None
        number = self._order[index]
        piece = self._whole.get(number)
        if piece is None:
            peers = self._chunks[number]
            piece = self._whole[number] = Piece(upsert_event(self._text_of(peers[host]) for host in sorted(peers)))
        return number, piece

    def step_after(self, since: MapVersion) -> tuple[MapVersion, Piece] | None:
        """What follows on that version, and to which it leads. None: the whole map is to be told."""
        if since.epoch != self.snapshot.epoch:
            return None
        if since.revision not in self._steps:
            while len(self._steps) >= STEPS_KEPT:
                self._steps.pop(next(iter(self._steps)))
            self._steps[since.revision] = self._step(next_step(self.snapshot, since))
        return self._steps[since.revision]

    def _step(self, step: Step | None) -> tuple[MapVersion, Piece] | None:
        if step is None:
            return None
        version = MapVersion(self.snapshot.epoch, step.revision)
        return version, Piece(b"".join(self._events(step, version)))

    def _events(self, step: Step, version: MapVersion) -> Iterator[bytes]:
        if step.remove:
            yield remove_event(step.remove)
        for start in range(0, len(step.upsert), CHUNK_PEERS):
            yield upsert_event(self._text_of(peer) for peer in step.upsert[start : start + CHUNK_PEERS])
        if step.relays is not None:
            yield relays_event(step.relays)
        yield current_event(version)

    def _fill(self) -> None:
        self._chunks.clear()
        self._order.clear()
        self._whole.clear()
        for record in self.snapshot.records.values():
            self._put(record.number, record.peer)

    def _put(self, number: int, peer: Peer) -> None:
        chunk = number // CHUNK_PEERS
        if chunk not in self._chunks:
            self._chunks[chunk] = {}
            bisect.insort(self._order, chunk)
        self._chunks[chunk][number] = peer
        self._whole.pop(chunk, None)

    def _take_out(self, number: int) -> None:
        chunk = number // CHUNK_PEERS
        del self._chunks[chunk][number]
        self._whole.pop(chunk, None)
        if not self._chunks[chunk]:
            del self._chunks[chunk]
            self._order.remove(chunk)


def _deflate(text: bytes) -> bytes:
    if len(text) < _STORED_BELOW:
        return b"\0" + struct.pack("<HH", len(text), len(text) ^ 0xFFFF) + text  # RFC 1951, section 3.2.4
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
    return compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)

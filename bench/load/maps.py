"""What a client has after the bytes that it received: worked out once for all clients that got the same bytes.

A `MapState` is immutable but for its memory of which bytes lead to which state. Two clients are in one state only if
they received the same pieces since they last were in one, so nothing is assumed of what a client should have: one that
missed a piece, or got another, is in another state, with another digest unless its map is the same all the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from bench.load.delays import Arrivals, Watch
from wireguard_mesh.core.following import MapReceiver
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.protocol import events
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.events import Event, EventParser

_BUCKETS: Final = 256  # copied on a change is one of them: some 40 records of 10,000
_DIGEST_SIZE: Final = 16
_MODULUS: Final = 1 << (8 * _DIGEST_SIZE)
_END_OF_EVENT: Final = b"\n\n"
_NEXT_TEXT: Final = b"\x1anext\x1a"  # whatever no piece ends with
_NEXT_BLOCK: Final = (
    b"\0" + struct.pack("<HH", len(_NEXT_TEXT), 0xFFFF - len(_NEXT_TEXT)) + _NEXT_TEXT
)  # RFC 1951, 3.2.4
_RAW_DEFLATE: Final = -15  # zlib's way to say: no header, the largest window


class Records:
    """A map's records, as the digest of each; a change shares what it does not touch. Immutable."""

    __slots__ = ("_buckets", "_total", "count")

    def __init__(self, buckets: tuple[dict[PeerId, int], ...], total: int, count: int) -> None:
        self._buckets = buckets
        self._total = total
        self.count = count

    def changed(self, remove: Iterable[PeerId], upsert: Iterable[Peer]) -> Records:
        """Without those removed, and then with the others in place of what has their ids."""
        buckets = list(self._buckets)
        fresh: set[int] = set()
        total, count = self._total, self.count

        def bucket(peer_id: PeerId) -> dict[PeerId, int]:
            index = hash(peer_id) % _BUCKETS
            if index not in fresh:
                fresh.add(index)
                buckets[index] = buckets[index].copy()
            return buckets[index]

        for peer_id in remove:
            gone = bucket(peer_id).pop(peer_id, None)
            if gone is not None:
                total, count = total - gone, count - 1
        for peer in upsert:
            records = bucket(peer.id)
            before = records.get(peer.id)
            after = records[peer.id] = _digest(encode(peer))
            total += after - (before or 0)
            count += before is None
        return Records(tuple(buckets), total % _MODULUS, count)

    @property
    def digest(self) -> str:
        """The same for the same records in whatever order they came: the sum of the digests of all."""
        return f"{self.count}-{self._total:032x}"


_NO_RECORDS: Final = Records(tuple({} for _ in range(_BUCKETS)), 0, 0)


class Edge:
    """Where one piece leads; `target` None: nowhere, it was a comment. `is_step`: a map is complete with it.

    `arrivals`: where to note who went this way, None if nothing is looked out for. `retry`: what it said of reconnects.
    """

    __slots__ = ("arrivals", "is_step", "retry", "target")

    def __init__(
        self, target: MapState | None, arrivals: Arrivals | None, *, is_step: bool, retry: float | None
    ) -> None:
        self.target = target
        self.arrivals = arrivals
        self.is_step = is_step
        self.retry = retry


class MapState:
    """What a client has: a map, and what came of a step that is not complete yet.

    `edges` remembers where each piece leads from here; `follow` works it out the first time. States refer to those that
    come after them only, so one that all clients have left is freed.
    """

    __slots__ = ("_base", "_network", "_pending", "_records", "_text", "edges", "version")

    def __init__(self, version: MapVersion | None = None, records: Records = _NO_RECORDS, network: str = "") -> None:
        self.version = version
        self.edges: dict[bytes, Edge] = {}
        self._records = records
        self._network = network
        self._base: MapState | None = None
        self._pending: tuple[Event, ...] = ()
        self._text = b""

    @property
    def complete(self) -> MapState:
        """As it was at the last `current`: what a client falls back to when its stream breaks."""
        return self._base or self

    @property
    def count(self) -> int:
        """How many records the last complete map has."""
        return self._records.count

    @property
    def digest(self) -> str:
        """Of version, network and every field of every record, of the last complete map."""
        return f"{self.version} {self._network} {self._records.digest}"

    def follow(self, key: bytes, deflated: bytes, watch: Watch) -> Edge:
        """Where a piece leads, which `key` names. Raises `InvalidValue` if it is none that stands by itself."""
        edge = self._work_out(_inflate(deflated), watch)
        self.edges[key] = edge
        return edge

    def _work_out(self, text: bytes, watch: Watch) -> Edge:
        whole, separator, rest = (self._text + text).rpartition(_END_OF_EVENT)
        parser = EventParser()
        state, pending = self.complete, list(self._pending)
        updates: list[MapUpdate] = []
        for event in parser.feed(whole + separator):
            pending.append(event)
            if event.name == events.CURRENT:
                updates.append(_fold(pending))
                state, pending = state.after(updates[-1]), []
        target: MapState | None = state
        if not updates and (len(pending), rest) == (len(self._pending), self._text):
            target = None
        elif pending or rest:
            target = state._amid(tuple(pending), rest)
        elif state is self:
            target = None
        return Edge(target, watch.steps(updates), is_step=bool(updates), retry=parser.retry)

    def after(self, update: MapUpdate) -> MapState:
        """With one more step, from a complete map. Raises `InvalidValue` if it does not follow."""
        version = MapVersion(update.epoch, update.revision)
        if update.kind is UpdateKind.SNAPSHOT:
            records = _NO_RECORDS.changed((), update.upsert)
            return MapState(version, records, f"{_digest(encode(update.network)):032x}")
        have = self.version
        if have is None or have.epoch != version.epoch or have.revision > version.revision:
            raise InvalidValue(f"a step to {version} does not follow on {have}")
        if update.kind is UpdateKind.CURRENT and have == version:
            return self
        return MapState(version, self._records.changed(update.remove, update.upsert), self._network)

    def _amid(self, pending: tuple[Event, ...], text: bytes) -> MapState:
        state = MapState(self.version, self._records, self._network)
        state._base, state._pending, state._text = self, pending, text
        return state


NOTHING: Final = MapState()


def digest_of(update: MapUpdate) -> str:
    """The digest of a client that has just this snapshot."""
    return NOTHING.after(update).digest


def _fold(step: list[Event]) -> MapUpdate:
    receiver = MapReceiver()
    for event in step:
        update = receiver.take(event)
        if update is not None:
            return update
    raise InvalidValue("a step without its end")


def _inflate(deflated: bytes) -> bytes:
    machine = zlib.decompressobj(_RAW_DEFLATE)
    try:
        text = machine.decompress(deflated + _NEXT_BLOCK)
    except zlib.error as error:
        raise InvalidValue(f"a piece does not inflate by itself: {error}") from None
    if not text.endswith(_NEXT_TEXT) or machine.unused_data:
        raise InvalidValue("a piece does not end with a block, at a byte: none could follow it")
    return text[: -len(_NEXT_TEXT)]


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=_DIGEST_SIZE).digest(), "big")

"""What a client has after the bytes that it received: worked out once for all clients that got the same bytes.

A `MapState` is immutable but for its memory of which bytes lead to which state. Two clients are in one state only if
they received the same pieces since they last were in one, so nothing is assumed of what a client should have: one that
missed a piece, or got another, is in another state, with another digest unless its map is the same all the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from bench.load.delays import Arrivals, Mark, Watch
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.protocol import events
from wireguard_mesh.protocol.api import MapUpdate
from wireguard_mesh.protocol.codec import Decoder, encode
from wireguard_mesh.protocol.events import Event, EventParser

_BUCKETS: Final = 256  # copied on a change is one of them: some 40 records of 10,000
_KEPT_RECORDS: Final = 65_536  # some 500 bytes each
_KEPT_TEXTS: Final = 256  # some 100 kB each if they are of a large map, which has 40 of them at 10,000 records
_DIGEST_SIZE: Final = 16
_MODULUS: Final = 1 << (8 * _DIGEST_SIZE)
_END_OF_EVENT: Final = b"\n\n"
_NEXT_TEXT: Final = b"\x1anext\x1a"  # whatever no piece ends with
_NEXT_BLOCK: Final = (
    b"\0" + struct.pack("<HH", len(_NEXT_TEXT), 0xFFFF - len(_NEXT_TEXT)) + _NEXT_TEXT
)  # RFC 1951, 3.2.4
_RAW_DEFLATE: Final = -15  # zlib's way to say: no header, the largest window

_peer: Final[Decoder[Peer]] = Decoder(Peer)
_texts: Final[Decoder[tuple[msgspec.Raw, ...]]] = Decoder(tuple[msgspec.Raw, ...])


class Records:
    """A map's records, as the digest of each; a change shares what it does not touch. Immutable."""

    __slots__ = ("_buckets", "_total", "count")

    def __init__(self, buckets: tuple[dict[PeerId, int], ...], total: int, count: int) -> None:
        self._buckets = buckets
        self._total = total
        self.count = count

    def removed(self, ids: Iterable[PeerId]) -> Records:
        """Without those that have these ids; others may be among them."""
        buckets, total, count = list(self._buckets), self._total, self.count
        fresh: set[int] = set()
        for peer_id in ids:
            gone = _own(buckets, fresh, peer_id).pop(peer_id, None)
            if gone is not None:
                total, count = total - gone, count - 1
        return Records(tuple(buckets), total % _MODULUS, count)

    def upserted(self, changed: Iterable[Record]) -> Records:
        """With these, in place of what has their ids."""
        buckets, total, count = list(self._buckets), self._total, self.count
        fresh: set[int] = set()
        for record in changed:
            digests = _own(buckets, fresh, record.id)
            before = digests.get(record.id)
            digests[record.id] = record.digest
            if before is None:
                total, count = total + record.digest, count + 1
            else:
                total += record.digest - before
        return Records(tuple(buckets), total % _MODULUS, count)

    @property
    def digest(self) -> str:
        """The same for the same records in whatever order they came: the sum of the digests of all."""
        return f"{self.count}-{self._total:032x}"


def _own(buckets: list[dict[PeerId, int]], fresh: set[int], peer_id: PeerId) -> dict[PeerId, int]:
    """The bucket of an id, which is copied the first time."""
    index = hash(peer_id) % _BUCKETS
    if index not in fresh:
        fresh.add(index)
        buckets[index] = buckets[index].copy()
    return buckets[index]


_NO_RECORDS: Final = Records(tuple({} for _ in range(_BUCKETS)), 0, 0)


class Record(msgspec.Struct, frozen=True):
    """One peer's record, as far as it matters here."""

    id: PeerId
    digest: int
    mark: Mark | None


@lru_cache(_KEPT_RECORDS)
def _record(text: bytes) -> Record:
    """Of every field that is known, in whatever order they were written. A record comes again with its neighbours."""
    peer = _peer.decode(text)
    mark = (peer.public_key, str(peer.endpoints[0])) if peer.endpoints else None
    return Record(peer.id, _digest(encode(peer)), mark)


class Said(msgspec.Struct, frozen=True):
    """One event: a `current` has a version, an `upsert` records, a `remove` ids."""

    event: Event
    version: MapVersion | None = None
    records: tuple[Record, ...] = ()
    ids: tuple[PeerId, ...] = ()

    @property
    def marks(self) -> Iterator[Mark]:
        """By what the changes in it are known."""
        yield from self.ids
        yield from (record.mark for record in self.records if record.mark is not None)


def _said(event: Event) -> Said:
    match event.name:
        case events.CURRENT:
            return Said(event, version=MapVersion.parse(event.id))
        case events.UPSERT:
            return Said(event, records=tuple(_record(bytes(text)) for text in _texts.decode(event.data)))
        case events.REMOVE:
            return Said(event, ids=events.remove_data.decode(event.data))
        case _:
            return Said(event)


class Text(msgspec.Struct, frozen=True):
    """What a piece says: whole events, the beginning of another one, and what it says of reconnects."""

    said: tuple[Said, ...]
    rest: bytes
    retry: float | None


@lru_cache(_KEPT_TEXTS)
def _read(before: bytes, deflated: bytes) -> Text:
    """What a piece says after `before`. A piece of a large map comes again and again, so it is kept a while."""
    whole, separator, rest = (before + _inflate(deflated)).rpartition(_END_OF_EVENT)
    parser = EventParser()
    said = tuple(_said(event) for event in parser.feed(whole + separator))
    return Text(said, rest, parser.retry)


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
        self._pending: tuple[Said, ...] = ()
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
        text = _read(self._text, deflated)
        state, pending, step = self.complete, self._pending, False
        marks: list[Mark] = []
        for said in text.said:
            pending = (*pending, said)
            if said.version is not None:
                if not _is_whole(pending):
                    marks += [mark for one in pending for mark in one.marks]
                state, pending, step = state.after(pending), (), True
        target: MapState | None = state
        if not step and (len(pending), text.rest) == (len(self._pending), self._text):
            target = None
        elif pending or text.rest:
            target = state._amid(pending, text.rest)
        elif state is self:
            target = None
        edge = self.edges[key] = Edge(target, watch.step(marks), is_step=step, retry=text.retry)
        return edge

    def after(self, step: Sequence[Said]) -> MapState:
        """With one more step, from a complete map. Raises `InvalidValue` if it does not follow."""
        version = step[-1].version
        assert version is not None
        records, network = self._records, self._network
        for said in step:
            if said.event.name == events.SNAPSHOT:
                records, network = _NO_RECORDS, _network_digest(said.event.data)
            if said.ids:
                records = records.removed(said.ids)
            if said.records:
                records = records.upserted(said.records)
        if not _is_whole(step):
            have = self.version
            if have is None or have.epoch != version.epoch or have.revision > version.revision:
                raise InvalidValue(f"a step to {version} does not follow on {have}")
            if have == version and records is self._records:
                return self
        return MapState(version, records, network)

    def _amid(self, pending: tuple[Said, ...], text: bytes) -> MapState:
        state = MapState(self.version, self._records, self._network)
        state._base, state._pending, state._text = self, pending, text
        return state


NOTHING: Final = MapState()


def digest_of(update: MapUpdate) -> str:
    """The digest of a client that has just this snapshot."""
    assert update.network is not None
    step = [
        Event(events.SNAPSHOT, encode(events.SnapshotData(update.network))),
        Event(events.UPSERT, encode(update.upsert)),
        Event(events.CURRENT, b"{}", str(update.version)),
    ]
    return NOTHING.after([_said(event) for event in step]).digest


def _is_whole(step: Iterable[Said]) -> bool:
    return any(said.event.name == events.SNAPSHOT for said in step)


def _network_digest(data: bytes) -> str:
    return f"{_digest(encode(events.snapshot_data.decode(data).network)):032x}"


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

"""Pieces are the map, however they are put together."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import empty, public_key, register
from tests.core.test_pushing import COMMANDS, after, peers_of, version
from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Command, Leave
from wireguard_mesh.core.following import MapReceiver
from wireguard_mesh.core.netmap import apply
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.events import EventParser, current_event
from wireguard_mesh.server import pieces
from wireguard_mesh.server.pieces import GZIP_START, LAST_CHUNK, MapPieces, Piece

BEFORE_FIRST = -1


def unchunk(data: bytes) -> bytes:
    """The body that these chunks make."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        assert data[int(size, 16) :].startswith(b"\r\n")
        data = data[int(size, 16) + 2 :]
    return body


def inflate(data: bytes) -> bytes:
    """What a gzip stream says so far."""
    return zlib.decompressobj(31).decompress(data)


def whole(made: MapPieces) -> list[Piece]:
    """All pieces of the whole map, without its end."""
    found = [made.beginning()]
    chunk = made.chunk_after(BEFORE_FIRST)
    while chunk is not None:
        found.append(chunk[1])
        chunk = made.chunk_after(chunk[0])
    return found


def received(text: bytes, have: NetworkMap | None, seed: int) -> NetworkMap | None:
    """The map after these events."""
    receiver = MapReceiver()
    for event in EventParser().feed(text):
        update = receiver.take(event)
        if update is not None:
            have = apply(have, update, public_key(seed))
    return have


def followers(snapshot: Snapshot) -> set[PublicKey]:
    """All who may have a stream."""
    return {*snapshot.records, *(relay.public_key for relay in snapshot.relays)}


def plain(piece: Piece) -> bytes:
    return unchunk(piece.wire(is_gzip=False))


TEXTS = st.lists(st.one_of(st.binary(max_size=300), st.integers(100, 2000).map(lambda size: b"ab" * size)))


@given(TEXTS, st.data())
def test_pieces_in_any_order_inflate_to_their_texts(texts: list[bytes], data: st.DataObject) -> None:
    made = [Piece(text) for text in texts]
    order = data.draw(st.lists(st.integers(0, len(made) - 1))) if made else []
    assert unchunk(b"".join(made[index].wire(is_gzip=False) for index in order)) == b"".join(texts[i] for i in order)
    inflated = inflate(unchunk(GZIP_START + b"".join(made[index].wire(is_gzip=True) for index in order)))
    assert inflated == b"".join(texts[index] for index in order)


def test_an_empty_piece_does_not_end_the_stream() -> None:
    # An empty chunk would: nothing of ours is empty, and it is as well that none can be.
    for is_gzip in (False, True):
        assert not Piece(b":").wire(is_gzip=is_gzip).startswith(b"0")
    assert LAST_CHUNK == b"0\r\n\r\n"


def test_a_piece_is_made_once() -> None:
    piece = Piece(b"text" * 100)
    for is_gzip in (False, True):
        assert piece.wire(is_gzip=is_gzip) is piece.wire(is_gzip=is_gzip)


@pytest.fixture
def few_in_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "CHUNK_PEERS", 3)


@pytest.mark.usefixtures("few_in_a_chunk")
@given(st.lists(st.lists(COMMANDS, max_size=4), max_size=10), st.booleans())
def test_the_chunks_are_the_snapshot_after_any_changes(batches: list[list[Command]], is_looked_at: bool) -> None:
    snapshot = after(empty(), register(0))
    made = MapPieces(snapshot, encode)
    history = [snapshot]
    for batch in batches:
        history.append(after(history[-1], *batch))
        gone = made.follow(history[-1])
        assert set(gone) == followers(history[-2]) - followers(history[-1])
        if is_looked_at:  # so that there is something that can be stale
            whole(made)
    last = history[-1]
    text = b"".join(map(plain, whole(made))) + current_event(made.version)
    netmap = received(text, None, 0)
    assert netmap is not None
    assert {netmap.me.public_key: netmap.me, **netmap.peers} == peers_of(last)
    assert all(made.chunk_after(number) is None for number in (100, 1000))
    for began in history:
        step = made.step_after(version(began.revision))
        assert step is not None
        assert step[0] == made.version
        assert received(plain(step[1]), as_known(began), 0) == netmap


def as_known(snapshot: Snapshot) -> NetworkMap:
    """The map of peer 0 at a snapshot."""
    return apply(None, changes_since(snapshot, public_key(0), None), public_key(0))


def test_only_what_changed_is_encoded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "CHUNK_PEERS", 4)
    encoded: list[Peer] = []

    def text_of(peer: Peer) -> bytes:
        encoded.append(peer)
        return encode(peer)

    snapshot = after(empty(), *(register(number) for number in range(20)))
    made = MapPieces(snapshot, text_of)
    first = whole(made)
    assert len(encoded) == 20
    made.follow(after(snapshot, register(5, hostname="renamed")))
    encoded.clear()
    second = whole(made)
    assert len(encoded) <= 4
    assert sum(before is not now for before, now in zip(first[1:], second[1:], strict=True)) == 1
    made.follow(snapshot)  # which is no later one: all of it is made anew
    encoded.clear()
    whole(made)
    assert len(encoded) == 20


def test_steps_are_shared_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "STEPS_KEPT", 2)
    snapshot = empty()
    for number in range(5):
        snapshot = after(snapshot, register(number))
    made = MapPieces(snapshot, encode)
    first = made.step_after(version(1))
    assert made.step_after(version(1)) is first
    made.step_after(version(2))
    made.step_after(version(3))
    assert made.step_after(version(1)) is not first


def test_what_cannot_be_followed_is_told_whole() -> None:
    snapshot = after(empty(), register(1))
    made = MapPieces(snapshot, encode)
    assert made.step_after(version(1, "other")) is None
    assert made.step_after(version(9)) is None
    other = replace(after(empty(), register(2)), epoch="other")
    assert list(made.follow(other)) == [public_key(1)]
    text = b"".join(map(plain, whole(made))) + current_event(made.version)
    netmap = received(text, None, 2)
    assert netmap is not None
    assert (netmap.epoch, netmap.peers) == ("other", {})


def test_an_empty_map_has_no_chunks() -> None:
    made = MapPieces(after(empty(), register(1)), encode)
    made.follow(after(made.snapshot, Leave(public_key=public_key(1), signed=True)))
    assert made.chunk_after(BEFORE_FIRST) is None

"""gzip as it comes: in any pieces, and never more at a time than was agreed."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.client import inflate
from wireguard_mesh.client.inflate import MAX_PIECE, Gunzip
from wireguard_mesh.model.errors import InvalidValue


@given(st.binary(max_size=3000), st.lists(st.integers(1, 200), max_size=30), st.integers(1, 300))
def test_whatever_the_pieces_the_text_is_the_same(text: bytes, cuts: list[int], size: int) -> None:
    packed, gunzip, found = gzip.compress(text * 3), Gunzip(), b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflate, "MAX_PIECE", size)
        for cut in [*cuts, len(packed)]:
            piece, packed = packed[:cut], packed[cut:]
            for part in gunzip.feed(piece):
                assert 0 < len(part) <= size
                found += part
    assert found == text * 3


def test_all_that_came_comes_out_though_it_needs_more_than_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """What zlib has read whole, but could not give out yet."""
    monkeypatch.setattr(inflate, "MAX_PIECE", 100)
    packer, gunzip = zlib.compressobj(wbits=31), Gunzip()
    packed = packer.compress(bytes(1000)) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert b"".join(gunzip.feed(packed)) == bytes(1000)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8))
def test_what_is_flushed_comes_out_at_once(texts: list[bytes]) -> None:
    packer, gunzip = zlib.compressobj(wbits=31), Gunzip()
    for text in texts:
        assert b"".join(gunzip.feed(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))) == text


def test_blocks_that_know_nothing_of_each_other_are_one_stream() -> None:
    """As a server sends that packs each piece once for all."""
    gunzip, found = Gunzip(), b""
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    for number, text in enumerate((b"one" * 100, b"two" * 100)):
        packer = zlib.compressobj(wbits=-15)
        block = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
        found += b"".join(gunzip.feed(block if number else head + block))
    assert found == b"one" * 100 + b"two" * 100


def test_a_bomb_unfolds_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in Gunzip().feed(bomb)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 64 * 1024 * 1024
    assert max(sizes) <= MAX_PIECE
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"text") + b"more", gzip.compress(b"text")[:-8] + bytes(8)])
def test_what_is_no_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidValue, match="gzip"):
        list(Gunzip().feed(data))


def test_nothing_comes_of_nothing() -> None:
    gunzip = Gunzip()
    assert list(gunzip.feed(b"")) == []
    assert b"".join(gunzip.feed(gzip.compress(b"text"))) == b"text"
    assert list(gunzip.feed(b"")) == []

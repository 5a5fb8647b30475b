"""gzip (RFC 1952) as it comes over a connection: in pieces of bounded size, whatever it claims to unfold to."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from wireguard_mesh.model.errors import InvalidValue

MAX_PIECE: Final = 64 * 1024  # bytes that are unfolded at a time
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib.h, inflateInit2: with gzip's head and tail


class Gunzip:
    """One gzip stream, from its beginning."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` brings, piece by piece. Raises `InvalidValue` for what is no gzip."""
        while data:
            try:
                piece = self._inflate.decompress(data, MAX_PIECE)
            except zlib.error as error:
                raise InvalidValue(f"the answer is not gzip as it should be ({error})") from None
            if self._inflate.unused_data:
                raise InvalidValue("the answer goes on after the end of its gzip")
            if piece:
                yield piece
            data = self._inflate.unconsumed_tail
        # A piece that was full may have left more within zlib, that needs no further input.
        while piece := self._rest():
            yield piece

    def _rest(self) -> bytes:
        return b"" if self._inflate.eof else self._inflate.decompress(b"", MAX_PIECE)

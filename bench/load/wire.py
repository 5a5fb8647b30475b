"""HTTP/1.1 as a client reads it (RFC 9112): heads and chunks, no more than the load needs."""

from http import HTTPStatus
from typing import Final

HEAD_END: Final = b"\r\n\r\n"
LINE_END: Final = b"\r\n"
MAX_HEAD: Final = 16 * 1024  # bytes
MAX_CHUNK: Final = 4 * 1024 * 1024


class BadAnswer(Exception):
    """What came is not what a server says."""


class Head:
    """Of an answer: `status` and headers, whose names are in lower case."""

    __slots__ = ("_headers", "status")

    def __init__(self, data: bytes) -> None:
        """`data` is all that comes before the empty line."""
        status, *lines = data.decode("latin-1").split("\r\n")
        words = status.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise BadAnswer(f"{status!r} is no status line")
        self.status = int(words[1])
        self._headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    def header(self, name: str) -> str:
        """Its value, "" if there is none."""
        return self._headers.get(name, "")

    @property
    def is_ok(self) -> bool:
        return self.status == HTTPStatus.OK

    @property
    def length(self) -> int:
        """Of the body. Raises `BadAnswer` if the head does not say."""
        length = self.header("content-length")
        if not length.isdigit():
            raise BadAnswer("an answer does not say how long it is")
        return int(length)

    @property
    def closes(self) -> bool:
        """Whether the connection ends with this answer."""
        return self.header("connection").lower() == "close"


def split_chunk(data: bytes, start: int) -> tuple[int, int, int] | None:
    """Of the chunk that begins at `start`: where its payload begins and ends, and where the next one begins.

    None if it is not all there. Raises `BadAnswer`.
    """
    line_end = data.find(LINE_END, start)
    if line_end < 0:
        if len(data) - start > MAX_HEAD:
            raise BadAnswer("a chunk without a length")
        return None
    try:
        size = int(data[start:line_end], 16)
    except ValueError:
        raise BadAnswer("a chunk without a length") from None
    if size > MAX_CHUNK:
        raise BadAnswer(f"a chunk of {size} bytes")
    begin = line_end + len(LINE_END)
    end = begin + size
    following = end + len(LINE_END)
    if len(data) < following:
        return None
    if data[end:following] != LINE_END:
        raise BadAnswer("a chunk that does not end where it says")
    return begin, end, following

"""Heads and chunks."""

import pytest

from bench.load.wire import MAX_CHUNK, MAX_HEAD, BadAnswer, Head, split_chunk


def test_a_head() -> None:
    head = Head(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\nMesh-Nonce: abc\r\nConnection: Close")
    assert (head.status, head.is_ok, head.length, head.closes) == (401, False, 12, True)
    assert (head.header("mesh-nonce"), head.header("date")) == ("abc", "")


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1", b"HTTP/1.1 ok", b"SSH-2.0-x 200 y"])
def test_no_head(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        Head(data)


def test_a_head_without_length() -> None:
    with pytest.raises(BadAnswer):
        _ = Head(b"HTTP/1.1 200 OK").length


def test_chunks() -> None:
    data = b"5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n"
    assert split_chunk(data, 0) == (3, 8, 10)
    assert split_chunk(data, 10) == (13, 23, 25)
    assert split_chunk(data, 25) == (28, 28, 30)
    for end in range(10):
        assert split_chunk(data[:end], 0) is None


@pytest.mark.parametrize("data", [b"x\r\n", b"2\r\nabcd", b"1" * (MAX_HEAD + 1), f"{MAX_CHUNK + 1:x}\r\n".encode()])
def test_no_chunk(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        split_chunk(data, 0)

"""The stream's text: what the server writes, a parser that gets it in any pieces reads."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import NETWORK, peer
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol import events
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.events import Event, EventParser

STEP = b"".join(
    (
        events.retry_field(2.5),
        events.snapshot_event(NETWORK),
        events.KEEPALIVE,
        events.remove_event([PeerId("peer-000009")]),
        events.upsert_event([encode(peer(1)), encode(peer(2))]),
        events.current_event(MapVersion("e", 7)),
    )
)


def read(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_what_is_written_is_read() -> None:
    parser = EventParser()
    snapshot, remove, upsert, current = parser.feed(STEP)
    assert parser.retry == 2.5
    assert events.snapshot_data.decode(snapshot.data).network == NETWORK
    assert events.remove_data.decode(remove.data) == ("peer-000009",)
    assert events.upsert_data.decode(upsert.data) == (peer(1), peer(2))
    assert current == Event("current", b"{}", "e.7")
    assert [event.name for event in (snapshot, remove, upsert)] == ["snapshot", "remove", "upsert"]
    assert snapshot.id == upsert.id == ""


@given(st.lists(st.integers(0, len(STEP)), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_it_may_come_in_any_pieces_and_with_any_line_ends(cuts: list[int], line_end: bytes) -> None:
    text = STEP.replace(b"\n", line_end)
    places = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    assert read(*pieces) == read(STEP)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"data:x", b"a"]), max_size=12), st.integers(1, 3))
def test_line_ends_of_all_kinds_in_any_order_mean_the_same_however_cut(words: list[bytes], size: int) -> None:
    text = b"".join(words)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert read(*pieces, b"") == read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"data\n\n", [Event("message", b"")]),
        (b"data: a\ndata:b\n\n", [Event("message", b"a\nb")]),
        (b"data:  a\n\n", [Event("message", b" a")]),
        (b"event: x\n\ndata: a\n\n", [Event("message", b"a")]),
        (b"\xef\xbb\xbfdata:a\n\n", [Event("message", b"a")]),
        (b"id:a\0b\ndata:a\n\n", [Event("message", b"a")]),
        (b"id: 1\nid: 2\ndata:a\n\ndata:b\n\n", [Event("message", b"a", "2"), Event("message", b"b")]),
        (b"other: 1\n: comment\ndata:a\n\n", [Event("message", b"a")]),
        (b"data:a\n", []),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(text: bytes, expected: list[Event]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize("text", [b"retry:\n", b"retry:-1\n", b"retry:1.5\n", b"retry:1234567890\n"])
def test_a_retry_that_is_no_number_is_passed_over(text: bytes) -> None:
    parser = EventParser()
    parser.feed(text)
    assert parser.retry is None


def test_an_endless_line_or_event_is_refused() -> None:
    parser = EventParser()
    half = b"x" * (events.MAX_LINE // 2 + 1)
    parser.feed(half)
    with pytest.raises(InvalidValue, match="line"):
        parser.feed(half)
    parser = EventParser()
    parser.feed(b"data:" + half + b"\n")
    with pytest.raises(InvalidValue, match="event"):
        parser.feed(b"data:" + half + b"\n")


def test_an_event_of_endless_empty_lines_is_refused() -> None:
    parser = EventParser()
    half = b"data:\n" * (events.MAX_EVENT // 2 + 1)
    parser.feed(half)
    with pytest.raises(InvalidValue, match="event"):
        parser.feed(half)

"""The messages between a relay process and its parent."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import private_key, public_key
from wireguard_mesh.core.forwarding_peers import Traffic
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.relay import control
from wireguard_mesh.relay.control import (
    Adopt,
    Limits,
    Observed,
    Ready,
    Roster,
    Setup,
    Stats,
    Stop,
    ToChild,
    ToParent,
    for_child,
    for_parent,
    frame,
)

SETUP = Setup(relay=OWN_RELAY, vantages=(private_key(1), private_key(2)), folder="/somewhere", sockets=((5,), (6, 7)))
TO_CHILD: tuple[ToChild, ...] = (
    SETUP,
    Roster((public_key(1), public_key(2)), (public_key(3),), whole=True),
    Roster(()),
    Adopt(public_key(4), b"\x81\x00"),
    Stop(),
)
TO_PARENT: tuple[ToParent, ...] = (
    Ready(7),
    Observed(public_key(1), 0, Endpoint.parse("[2001:db8::1]:51820")),
    Observed(public_key(1), 1, None, over_web=True),
    Stats(received_packets=3, dropped={"no route": 2}, pairs=(Traffic(public_key(1), public_key(2), 3, 4),)),
)


def test_of_what_a_relay_counts_the_server_tells_some() -> None:
    stats = Stats(
        memory=7, answered=8, registered=1, sessions=2, routes=3, carriers=4, forwarded_packets=5, forwarded_bytes=6
    )
    assert msgspec.structs.astuple(stats.counters) == (1, 2, 3, 4, 5, 6)


def test_messages_to_a_child_travel() -> None:
    assert list(for_child().feed(b"".join(frame(message) for message in TO_CHILD))) == list(TO_CHILD)


def test_messages_to_a_parent_travel() -> None:
    assert list(for_parent().feed(b"".join(frame(message) for message in TO_PARENT))) == list(TO_PARENT)


@given(st.lists(st.integers(1, 40)))
def test_messages_come_in_any_pieces(lengths: list[int]) -> None:
    data = b"".join(frame(message) for message in TO_CHILD)
    reader, got, start = for_child(), [], 0
    for length in [*lengths, len(data)]:
        got += list(reader.feed(data[start : start + length]))
        start += length
    assert got == list(TO_CHILD)


@given(st.binary())
def test_garbage_is_waited_for_or_refused(data: bytes) -> None:
    with suppress(InvalidValue):
        assert not list(for_child().feed(data)), "nobody writes a message by chance"


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x93\xa6roster\x91\xc4\x20" + bytes(32) + b"\x90", b"\x91\xa4what"])
def test_a_body_that_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidValue):
        list(for_child().feed(len(body).to_bytes(4, "big") + body))


def test_a_frame_too_long_is_refused_before_it_came() -> None:
    with pytest.raises(InvalidValue):
        list(for_child().feed((control.MAX_FRAME + 1).to_bytes(4, "big")))


def test_a_message_too_long_is_not_sent() -> None:
    with pytest.raises(InvalidValue):
        frame(Adopt(public_key(1), bytes(control.MAX_FRAME)))


def test_no_private_key_is_shown() -> None:
    assert private_key(1).to_base64() not in repr(SETUP)


def test_limits_are_none_unless_set() -> None:
    assert Limits().bytes_per_second == 0

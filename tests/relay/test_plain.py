"""What only the plain way does; all else is in test_port.py."""

from __future__ import annotations

import pytest

from tests.relay.ports import read_a_broken_socket, sizes_in_turns
from wireguard_mesh.relay.plain import BATCH, PlainPort


def test_others_get_their_turn_after_a_batch() -> None:
    first, then = sizes_in_turns(PlainPort, BATCH + 2)
    assert first == list(range(1, BATCH + 1))
    assert then == [BATCH + 1, BATCH + 2]


def test_a_socket_that_is_broken_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    read_a_broken_socket(PlainPort)  # an error is an earlier packet's perhaps: it goes on
    assert len(caplog.records) == 1

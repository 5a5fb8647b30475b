"""Who comes and goes is logged, in bounded length."""

from __future__ import annotations

import logging

import pytest

from tests.core.samples import empty, register
from wireguard_mesh.core.registry import decide
from wireguard_mesh.server.event_log import LINES, WINDOW_SECONDS, EventLog

(RECORD,) = decide(empty(), [register(1)], 0.0).snapshot.records.values()


def test_a_flood_is_counted_and_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wireguard_mesh.server.event_log")
    events = EventLog()
    for _ in range(LINES + 50):
        events.note("peer joined", RECORD, 1000.0)
    events.note("peer left", RECORD, 1000.0)
    events.look(1000.0 + WINDOW_SECONDS - 1)
    assert len(caplog.records) == LINES
    events.look(1000.0 + WINDOW_SECONDS)
    assert [record.message.partition(",")[0] for record in caplog.records[LINES:]] == [
        "peer joined: 50 more",
        "peer left: 1 more",
    ]
    events.note("peer left", RECORD, 1000.0 + WINDOW_SECONDS)
    assert (
        caplog.records[-1].message
        == f"peer left id={RECORD.peer.id} hostname={RECORD.peer.hostname} address=10.100.0.1"
    )

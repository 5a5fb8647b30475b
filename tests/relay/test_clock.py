"""The clocks of the relay process."""

from __future__ import annotations

import time

from wireguard_mesh.relay import clock


def test_both_clocks_go_on() -> None:
    first, second = clock.now(), clock.now()
    assert second.monotonic >= first.monotonic
    assert first.wall <= time.time()

"""The two clocks."""

from __future__ import annotations

import time

from wireguard_mesh.server.clock import Clock


def test_the_clocks_are_the_machine_s() -> None:
    clock = Clock()
    before = time.time(), time.monotonic()
    now = clock.wall(), clock.monotonic()
    assert now >= before
    assert now <= (time.time(), time.monotonic())

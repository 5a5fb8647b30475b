"""What a process has used."""

import os
import time

from bench.usage import Meter, machine_seconds, usage


def test_of_this_process() -> None:
    found = usage(os.getpid())
    assert 1 < found.rss <= found.peak
    assert found.cpu > 0


def test_a_meter_tells_shares_of_a_core() -> None:
    meter = Meter(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert 0 < meter.load <= 200
    assert meter.seconds > 0
    assert meter.server > 0


def test_what_all_else_uses_is_the_noise() -> None:
    before = machine_seconds()
    meter = Meter(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert machine_seconds() > before
    assert meter.others >= 0
    assert str(meter).startswith("server ")

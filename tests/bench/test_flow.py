"""A flow between two hosts."""

import time

import pytest

from bench.flow import Flow
from lab import Lab

pytestmark = pytest.mark.lab


def test_a_flow_is_steady_and_its_losses_are_counted(lab: Lab) -> None:
    lan = lab.switch("lan", "192.0.2.0/24")
    a, b = lab.host("a", lan), lab.host("b", lan)
    flow = Flow(a, b, b.ipv4, megabits=2)
    time.sleep(0.5)
    assert flow.stop().lost == 0
    a.link.lose(50)
    flow = Flow(a, b, b.ipv4, megabits=2)
    time.sleep(1.0)
    received = flow.stop()
    assert 20 < received.percent < 80
    assert sum(gap.lost for gap in received.gaps) == received.lost

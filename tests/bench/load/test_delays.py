"""When each change came to each client."""

import pytest

from bench.load.delays import Change, Watch, delays
from tests.samples import public_key
from wireguard_mesh.model.names import PeerId

JOINED, MOVED, LEFT = (public_key(1), "192.0.2.1:1"), (public_key(1), "192.0.2.2:1"), PeerId("peer-000002")


def test_steps_have_what_is_looked_out_for() -> None:
    watch = Watch()
    assert watch.step([JOINED]) is None
    joins, leaves = Change("join", 1.0), Change("leave", 2.0)
    watch.expect(JOINED, joins)
    watch.expect(LEFT, leaves)
    assert watch.step([MOVED]) is None
    first, both = watch.step([MOVED, JOINED]), watch.step([LEFT, JOINED])
    assert first is not None
    assert both is not None
    first.note(1.5)
    first.note(1.5)
    both.note(3.0)
    assert (joins.deliveries, leaves.deliveries) == (3, 1)
    assert joins.last == pytest.approx(2.0)
    assert leaves.last == pytest.approx(1.0)
    watch.clear()
    assert watch.step([JOINED]) is None


def test_quantiles_are_over_all_deliveries() -> None:
    watch = Watch()
    change = Change("leave", 10.0, acknowledged=10.05)
    watch.expect(LEFT, change)
    step = watch.step([LEFT])
    assert step is not None
    for number in range(1, 101):
        step.note(10.0 + number / 100 + 1e-6)
    found = delays([change])
    assert (found.p50, found.p99, found.longest, found.deliveries) == (0.5, 0.99, 1.0, 100)
    assert delays([change], acknowledged=True).p50 == pytest.approx(0.45)
    assert delays([]).deliveries == 0

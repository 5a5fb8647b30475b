"""When each change came to each client."""

import pytest

from bench.load.delays import Change, Watch, delays
from tests.samples import NETWORK, peer
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind


def update(*numbers: int, remove: tuple[int, ...] = ()) -> MapUpdate:
    return MapUpdate(
        kind=UpdateKind.DELTA,
        epoch="abc",
        revision=2,
        upsert=tuple(peer(number) for number in numbers),
        remove=tuple(peer(number).id for number in remove),
    )


def test_steps_have_what_is_looked_out_for() -> None:
    watch = Watch()
    assert watch.steps([update(1)]) is None
    joins, leaves = Change("join", 1.0), Change("leave", 2.0)
    watch.expect((peer(1).public_key, str(peer(1).endpoints[0])), joins)
    watch.expect(peer(2).id, leaves)
    assert watch.steps([update(3)]) is None
    first = watch.steps([update(1, 4)])
    both = watch.steps([update(4), update(1, remove=(2,))])
    assert first is not None
    assert both is not None
    first.note(1.5)
    first.note(1.5)
    both.note(3.0)
    assert (joins.deliveries, leaves.deliveries) == (3, 1)
    assert joins.last == pytest.approx(2.0)
    assert leaves.last == pytest.approx(1.0)
    watch.clear()
    assert watch.steps([update(1)]) is None


def test_a_whole_map_is_no_news_and_another_endpoint_another_change() -> None:
    watch = Watch()
    watch.expect((peer(1).public_key, "192.0.2.99:1"), Change("move", 1.0))
    assert watch.steps([update(1)]) is None
    watch.expect((peer(1).public_key, str(peer(1).endpoints[0])), Change("move", 1.0))
    whole = MapUpdate(kind=UpdateKind.SNAPSHOT, epoch="abc", revision=2, network=NETWORK, upsert=(peer(1),))
    assert watch.steps([whole]) is None
    assert watch.steps([update(1)]) is not None


def test_quantiles_are_over_all_deliveries() -> None:
    watch = Watch()
    change = Change("leave", 10.0, acknowledged=10.05)
    watch.expect(peer(1).id, change)
    step = watch.steps([update(remove=(1,))])
    assert step is not None
    for number in range(1, 101):
        step.note(10.0 + number / 100 + 1e-6)
    found = delays([change])
    assert (found.p50, found.p99, found.longest, found.deliveries) == (0.5, 0.99, 1.0, 100)
    assert delays([change], acknowledged=True).p50 == pytest.approx(0.45)
    assert delays([]).deliveries == 0

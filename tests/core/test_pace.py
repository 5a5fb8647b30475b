import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.core.pace import Pace


def test_a_burst_at_once_then_one_by_one() -> None:
    pace = Pace(3, 2.0)
    assert [pace.wait(10.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.5, 1.0])


def test_rest_gives_the_burst_back() -> None:
    pace = Pace(2, 1.0)
    assert [pace.wait(0.0), pace.wait(0.0)] == [0, 0]
    assert [pace.wait(100.0), pace.wait(100.0)] == [0, 0]
    assert pace.wait(100.0) == pytest.approx(1.0)


@given(st.lists(st.floats(0, 5), max_size=60))
def test_whoever_waits_is_never_faster_than_burst_and_rate(pauses: list[float]) -> None:
    pace, now, done = Pace(4, 2.0), 0.0, []
    for pause in pauses:
        now += pause
        now += pace.wait(now)
        done.append(now)
    for index, first in enumerate(done):
        for count, last in enumerate(done[index:], start=1):
            assert count <= 4 + 2.0 * (last - first) + 1e-6

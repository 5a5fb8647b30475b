"""Small sums of the live map's measurement."""

from bench.live_map_size import _p99, _peak


def test_the_99th_percentile_of_few_is_the_last() -> None:
    assert _p99(range(20)) == 19
    assert _p99(range(100)) == 98
    assert _p99([5.0]) == 5.0


def test_the_peak_is_the_most_within_a_second() -> None:
    assert _peak([]) == 0
    assert _peak([0.0, 0.5, 1.0, 1.4, 1.6, 9.0]) == 3
    assert _peak([1.0, 1.0, 1.0]) == 3

from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.core.distances import LONGEST, SAMPLES, Distance, stepped


def test_nothing_is_said_before_anything_was_measured() -> None:
    assert Distance().milliseconds is None


@given(st.floats(0.0005, 3.0), st.lists(st.floats(0.0, 0.5), min_size=1, max_size=100))
def test_queues_change_nothing(seconds: float, queues: list[float]) -> None:
    """Whatever is added to the least round trip, as long as the least comes now and then."""
    distance = Distance()
    distance.add(seconds)
    said = distance.milliseconds
    for queue in queues:
        distance.add(seconds + queue)
        distance.add(seconds)
    assert distance.milliseconds == said


@given(st.floats(0.001, 3.0), st.lists(st.floats(0.9, 1.1), min_size=1, max_size=100))
def test_noise_changes_nothing(seconds: float, factors: list[float]) -> None:
    distance = Distance()
    distance.add(seconds)
    said = distance.milliseconds
    for factor in factors:
        distance.add(seconds * factor)
    assert distance.milliseconds == said


@given(st.floats(0.0, 20.0))
def test_what_is_said_is_near_what_was_measured(seconds: float) -> None:
    distance = Distance()
    distance.add(seconds)
    said = distance.milliseconds
    assert said is not None
    assert 1 <= said <= LONGEST
    measured = min(LONGEST, max(1.0, seconds * 1000))
    assert abs(said - measured) <= 0.11 * measured + 0.5


def test_another_distance_is_said_before_long() -> None:
    distance = Distance()
    distance.add(0.01)
    for _ in range(SAMPLES):
        distance.add(0.1)
    assert distance.milliseconds == stepped(100.0)
    distance.add(0.01)
    assert distance.milliseconds == stepped(10.0)


def test_in_another_network_the_next_round_trip_counts() -> None:
    distance = Distance()
    distance.add(0.01)
    distance.forget()
    assert distance.milliseconds == stepped(10.0)
    distance.add(0.1)
    assert distance.milliseconds == stepped(100.0)

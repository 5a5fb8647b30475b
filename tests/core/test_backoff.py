from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.core.backoff import Backoff

BACKOFF = Backoff(first=0.5, longest=30.0)


def test_doubles_from_first_to_longest() -> None:
    almost_one = 1 - 2**-53
    assert [round(BACKOFF.delay(failures, almost_one), 3) for failures in range(1, 9)] == [
        0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0,
    ]  # fmt: skip


@given(st.integers(-1, 10**9), st.floats(0, 1, exclude_max=True))
def test_delay_stays_within_half_and_whole(failures: int, random: float) -> None:
    whole = BACKOFF.delay(failures, 0.0) * 2
    assert 0.5 <= whole <= 30.0
    assert whole / 2 <= BACKOFF.delay(failures, random) <= whole


def test_a_failure_later_waits_no_shorter() -> None:
    delays = [BACKOFF.delay(failures, 0.3) for failures in range(1, 50)]
    assert delays == sorted(delays)

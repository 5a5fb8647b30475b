"""What is made of a flow's numbers."""

import pytest

from bench.numbered import Gap, summary


def test_nothing_lost() -> None:
    found = summary([5, 6, 7], [0.5, 0.6, 0.7])
    assert (found.sent, found.received, found.lost, found.late, found.gaps) == (3, 3, 0, 0, [])
    assert found.percent == 0


def test_gaps_say_how_much_and_when_it_went_on() -> None:
    found = summary([1, 4, 5, 9], [0.1, 0.4, 0.5, 0.9])
    assert found.gaps == [Gap(2, 0.4), Gap(3, 0.9)]
    assert (found.sent, found.received, found.lost) == (9, 4, 5)
    assert found.percent == pytest.approx(500 / 9)


def test_late_ones_and_copies_are_not_lost() -> None:
    found = summary([1, 3, 2, 2, 4], [0.1, 0.3, 0.35, 0.36, 0.4])
    assert (found.lost, found.late) == (0, 2)


def test_a_flow_of_which_nothing_came() -> None:
    assert summary([], []).sent == 0

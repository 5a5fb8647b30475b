"""When to try a stream, and when to ask: every way in which streams come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wireguard_mesh.core import feed
from wireguard_mesh.core.feed import AGAIN, BEHIND, FIRST_STEP, LONG, NEVER, RETRY, SHORT_ONES, SILENCE, End, Feed
from wireguard_mesh.protocol.status import MapSource

INTERVAL = 60.0


def made(now: float = 0.0) -> Feed:
    return Feed(now, INTERVAL)


def streaming(now: float = 0.0) -> Feed:
    one = made(now)
    one.stream_works(now)
    return one


def polling() -> Feed:
    one = made()
    one.stream_ended(End.BLOCKED, 10.0, 0.0)
    return one


def test_begins_with_a_stream_at_once() -> None:
    one = made(5.0)
    assert (one.source, one.stream_at, one.poll_at) == (MapSource.NONE, 5.0, NEVER)


def test_a_stream_that_works_makes_questions_needless() -> None:
    one = polling()
    one.stream_works(20.0)
    assert (one.source, one.poll_at) == (MapSource.STREAM, NEVER)
    one.news(21.0)
    one.polled(True, 21.0, 0.0)
    assert one.poll_at == NEVER


@pytest.mark.parametrize(("random", "due"), [(0.0, 100.0), (0.5, 102.5), (0.999, 104.995)])
def test_those_who_lose_their_stream_come_back_spread_over_the_time_that_the_server_named(
    random: float, due: float
) -> None:
    one = streaming()
    one.spread_over(5.0)
    one.stream_ended(End.WORKED, 100.0, random)
    assert one.stream_at == pytest.approx(due)
    assert (one.source, one.poll_at) == (MapSource.NONE, NEVER)


def test_in_a_small_mesh_they_come_back_at_once() -> None:
    one = streaming()
    one.stream_ended(End.WORKED, 100.0, 0.9)
    assert one.stream_at == 100.0


def test_no_server_spreads_them_over_hours() -> None:
    one = streaming()
    one.spread_over(1e9)
    one.stream_ended(End.WORKED, 100.0, 0.999)
    assert one.stream_at <= 100.0 + feed.LONGEST_SPREAD


def test_a_server_that_cannot_be_reached_is_tried_by_backoff_and_not_asked() -> None:
    one = streaming()
    one.stream_ended(End.WORKED, 100.0, 0.0)
    waits = []
    for _ in range(10):
        one.stream_ended(End.FAILED, 100.0, 0.0)
        waits.append(one.stream_at - 100.0)
        assert one.poll_at == NEVER
    assert waits == [RETRY.delay(failures, 0.0) for failures in range(1, 11)]
    one.stream_works(200.0)
    one.stream_ended(End.FAILED, 300.0, 0.0)
    assert one.stream_at == 300.0 + RETRY.delay(1, 0.0)
    assert one.source is MapSource.NONE


def test_where_streams_bring_nothing_the_map_is_asked_for_at_once_and_then_in_its_interval() -> None:
    one = polling()
    assert (one.source, one.poll_at) == (MapSource.POLLING, 10.0)
    assert one.stream_at == 10.0 + AGAIN.delay(1, 0.0)
    one.polled(True, 10.0, 0.5)
    assert one.poll_at == 10.0 + INTERVAL * 0.95
    one.polled(True, 10.0, 0.0)
    assert one.poll_at == 70.0
    one.stream_ended(End.BLOCKED, 30.0, 0.0)
    assert one.stream_at == 30.0 + AGAIN.delay(2, 0.0)
    assert one.poll_at == 70.0


def test_a_question_without_an_answer_is_asked_again_soon() -> None:
    one = polling()
    for failures in range(1, 12):
        one.polled(False, 10.0, 0.0)
        assert one.poll_at == 10.0 + min(INTERVAL, RETRY.delay(failures, 0.0))
    one.polled(True, 10.0, 0.0)
    one.polled(False, 10.0, 0.0)
    assert one.poll_at == 10.0 + RETRY.delay(1, 0.0)


@pytest.mark.parametrize("end", [End.FAILED, End.BLOCKED])
@pytest.mark.parametrize("attempts", [1, 2, 4, 20])
def test_a_large_mesh_does_not_fall_upon_a_server_however_long_it_was_away(end: End, attempts: int) -> None:
    due = []
    for number in range(100):
        one = streaming()
        one.spread_over(60.0)
        for _ in range(attempts):
            one.stream_ended(end, 100.0, number / 100)
        due.append(one.stream_at - 100.0)
    assert max(due) > 55.0
    assert max(sum(start <= at < start + 10.0 for at in due) for start in range(60)) <= 2 * 100 / 6


def test_questions_that_find_no_server_are_spread_too() -> None:
    one = polling()
    one.spread_over(40.0)
    one.polled(False, 100.0, 0.5)
    assert one.poll_at == 120.0
    one.polled(False, 100.0, 0.0)
    assert one.poll_at == 100.0 + RETRY.delay(2, 0.0)


def test_those_whose_streams_a_proxy_cuts_all_at_once_do_not_all_ask_at_once() -> None:
    one = streaming()
    one.spread_over(60.0)
    one.stream_ended(End.BLOCKED, 100.0, 0.5)
    assert (one.source, one.poll_at) == (MapSource.POLLING, 130.0)


def test_after_questions_failed_too_streams_are_given_another_chance() -> None:
    """As when the server behind a proxy was away: it was not the proxy that held streams back."""
    one = polling()
    for _ in range(9):
        one.stream_ended(End.BLOCKED, 10.0, 0.0)
        one.polled(False, 10.0, 0.0)
    assert one.stream_at > 30.0
    one.spread_over(4.0)
    one.polled(True, 20.0, 0.5)
    assert one.stream_at == 22.0
    assert not one.is_blocked
    one.stream_ended(End.BLOCKED, 30.0, 0.0)
    assert one.stream_at == 30.0 + AGAIN.delay(1, 0.0)
    assert one.poll_at == 30.0  # so that it is soon known what is in the way
    one.polled(True, 30.0, 0.0)
    assert one.is_blocked


def test_polling_goes_on_while_the_server_cannot_be_reached() -> None:
    one = polling()
    one.polled(True, 10.0, 0.0)
    one.stream_ended(End.FAILED, 20.0, 0.0)
    assert (one.source, one.poll_at) == (MapSource.POLLING, 70.0)


def test_news_elsewhere_are_asked_for_at_once() -> None:
    one = polling()
    one.polled(True, 10.0, 0.0)
    one.news(30.0)
    assert one.poll_at == 30.0


def test_streams_that_are_cut_again_and_again_are_no_way_to_live_on() -> None:
    one = made()
    for number in range(SHORT_ONES):
        one.stream_works(float(number))
        one.stream_ended(End.WORKED, number + 1.0, 0.0)
        assert one.source is MapSource.NONE
    one.stream_works(50.0)
    one.stream_ended(End.WORKED, 51.0, 0.0)
    assert (one.source, one.poll_at, one.stream_at) == (MapSource.POLLING, 51.0, 51.0 + AGAIN.delay(1, 0.0))
    one.stream_works(60.0)
    one.stream_ended(End.WORKED, 61.0, 0.0)
    assert one.stream_at == 61.0 + AGAIN.delay(2, 0.0)
    one.stream_works(70.0)
    one.stream_ended(End.WORKED, 70.0 + LONG, 0.0)
    assert (one.source, one.stream_at) == (MapSource.NONE, 70.0 + LONG)


def test_another_network_gives_everything_another_chance() -> None:
    one = polling()
    one.stream_ended(End.FAILED, 20.0, 0.0)
    one.polled(False, 21.0, 0.9)
    one.network_changed(22.0)
    assert (one.stream_at, one.poll_at) == (min(22.0, 20.0 + RETRY.delay(1, 0.0)), min(22.0, one.poll_at))
    one.stream_ended(End.BLOCKED, 30.0, 0.0)
    assert one.stream_at == 30.0 + AGAIN.delay(1, 0.0)


def test_a_server_that_is_there_again_is_called_as_by_those_who_lost_their_stream() -> None:
    one = streaming()
    one.spread_over(5.0)
    for _ in range(9):
        one.stream_ended(End.FAILED, 100.0, 0.999)
    one.server_answers(101.0, 0.5)
    assert one.stream_at == 103.5
    one.server_answers(101.0, 0.9)
    assert one.stream_at == 103.5
    asking = polling()
    for _ in range(9):
        asking.polled(False, 100.0, 0.999)
    asking.server_answers(101.0, 0.0)
    assert (asking.poll_at, asking.stream_at) == (101.0, 10.0 + AGAIN.delay(1, 0.0))


@pytest.mark.parametrize(
    ("one", "now", "behind", "patience"),
    [
        (made(), 0.0, None, FIRST_STEP),
        (made(), 0.0, 0.0, FIRST_STEP),
        (streaming(), 5.0, None, SILENCE),
        (streaming(), 5.0, 5.0, BEHIND),
        (streaming(), 8.0, 5.0, BEHIND - 3.0),
        (streaming(), 99.0, 5.0, 0.0),
    ],
)
def test_how_long_a_stream_may_be_silent(one: Feed, now: float, behind: float | None, patience: float) -> None:
    assert one.patience(now, behind) == pytest.approx(patience)


FRACTIONS = st.floats(0.0, 1.0, exclude_max=True)


class Life(RuleBasedStateMachine):
    """A feed through whatever may happen, in any order: it never stops trying, and never hurries."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.feed = Feed(self.now, INTERVAL)
        self.tried = 0

    @rule(seconds=st.floats(0.0, 500.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.feed.stream_at <= self.now and self.feed.source is not MapSource.STREAM)
    @rule()
    def work(self) -> None:
        self.feed.stream_works(self.now)

    @precondition(lambda self: self.feed.stream_at <= self.now)
    @rule(end=st.sampled_from((End.BLOCKED, End.FAILED)), random=FRACTIONS)
    def fail(self, end: End, random: float) -> None:
        self.feed.stream_ended(end, self.now, random)

    @precondition(lambda self: self.feed.source is MapSource.STREAM)
    @rule(random=FRACTIONS)
    def end(self, random: float) -> None:
        self.feed.stream_ended(End.WORKED, self.now, random)

    @precondition(lambda self: self.feed.poll_at <= self.now)
    @rule(is_answered=st.booleans(), random=FRACTIONS)
    def ask(self, is_answered: bool, random: float) -> None:
        self.feed.polled(is_answered, self.now, random)
        assert self.now < self.feed.poll_at <= self.now + INTERVAL

    @rule(seconds=st.floats(0.0, 1e9))
    def spread(self, seconds: float) -> None:
        self.feed.spread_over(seconds)

    @rule(random=FRACTIONS)
    def answer(self, random: float) -> None:
        self.feed.server_answers(self.now, random)

    @rule()
    def hear(self) -> None:
        self.feed.news(self.now)

    @rule()
    def move(self) -> None:
        self.feed.network_changed(self.now)

    @invariant()
    def goes_on(self) -> None:
        assert self.feed.stream_at <= self.now + max(feed.LONGEST_SPREAD, AGAIN.longest)
        assert (self.feed.poll_at < NEVER) == (self.feed.source is MapSource.POLLING)


TestLife = Life.TestCase


@given(st.lists(FRACTIONS, min_size=40, max_size=40))
def test_streams_that_are_cut_at_once_for_ever_make_no_busy_loop(randoms: list[float]) -> None:
    one, now, tried = made(), 0.0, 0
    for random in randoms:
        now = max(now, one.stream_at)
        if now > 3600.0:
            break
        tried += 1
        one.stream_works(now)
        one.stream_ended(End.WORKED, now, random)
    assert tried <= SHORT_ONES + 40
    assert tried < 40 or now > 3600.0 - AGAIN.longest

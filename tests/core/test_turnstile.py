"""Which initiations are looked at when strangers send more than a relay could answer."""

import random

from wireguard_mesh.core.turnstile import SERVED_SECONDS, TRIED_SECONDS, WINDOW, Turnstile, TurnstileLimits

SEED = 7
NEWCOMER = hash("newcomer")
LIMITS = TurnstileLimits(
    calm=100,
    calm_burst=5,
    without_cookie=20,
    with_cookie=30,
    known=20,
    known_each=20,
    known_more=30,
)
STEPS = 10  # windows a second


def flooded(limits: TurnstileLimits = LIMITS) -> Turnstile:
    made = Turnstile(limits)
    made.turn(1.0)
    while not made.is_flooded:
        made.admits(1, has_cookie=False)
    made.turn(1.0 + WINDOW)
    assert made.is_flooded
    return made


def test_few_strangers_all_enter() -> None:
    turnstile = Turnstile(LIMITS)
    for step in range(300):
        turnstile.turn(step / 60)
        assert turnstile.admits(1, has_cookie=step % 2 == 0)
    assert not turnstile.is_flooded
    assert turnstile.shed == 0


def test_a_flood_ends_a_second_after_the_last_window_that_was_too_full() -> None:
    turnstile = flooded()
    turnstile.turn(1.9)
    for _ in range(11):
        turnstile.admits(1, has_cookie=False)
    flooded_at = []
    for tenth in (20.1, *range(21, 30), 31):
        turnstile.turn(tenth / 10)
        flooded_at.append(turnstile.is_flooded)
        turnstile.admits(2, has_cookie=False)
    assert flooded_at == [True] * 10 + [False]
    assert turnstile.admits(1, has_cookie=False)


def test_in_a_flood_each_source_enters_once_without_a_cookie_and_again_with_one() -> None:
    turnstile = flooded()
    assert turnstile.admits(NEWCOMER, has_cookie=False)
    assert not turnstile.admits(NEWCOMER, has_cookie=False)
    assert turnstile.admits(NEWCOMER, has_cookie=True)
    assert not turnstile.admits(NEWCOMER, has_cookie=True)
    _keep_flooding(turnstile, until=1.5 + TRIED_SECONDS)
    assert turnstile.admits(NEWCOMER, has_cookie=True)
    _keep_flooding(turnstile, since=1.5 + TRIED_SECONDS, until=1.5 + SERVED_SECONDS)
    assert turnstile.admits(NEWCOMER, has_cookie=False)


def _keep_flooding(turnstile: Turnstile, *, until: float, since: float = 1.1) -> None:
    """One source that sends much, until just after a window has begun."""
    for step in range(int(since * STEPS) + 1, int(until * STEPS) + 1):
        turnstile.turn(step / STEPS + 0.001)
        for _ in range(11):
            turnstile.admits(1, has_cookie=False)
    assert turnstile.is_flooded


def test_so_many_strangers_enter_a_window_in_a_flood() -> None:
    turnstile = flooded()
    turnstile.turn(1.3)
    choose = random.Random(SEED)
    entered = [turnstile.admits(choose.getrandbits(64), has_cookie=number % 2 == 0) for number in range(200)]
    assert (sum(entered[::2]), sum(entered[1::2])) == (3, 2)


def test_a_newcomer_enters_when_each_source_of_a_flood_had_its_turn() -> None:
    turnstile = Turnstile()
    choose = random.Random(SEED)
    flood = [choose.getrandbits(64) - (1 << 63) for _ in range(2000)]
    first = 0
    for step in range(1, 100):
        turnstile.turn(step / STEPS)
        for source in flood[step % 4 :: 4]:
            turnstile.admits(source, has_cookie=False)
        if step % 10 == 0 and turnstile.admits(hash(f"newcomer {step}"), has_cookie=False):
            first = first or step
    assert turnstile.is_flooded
    assert 0 < first <= 60


def test_a_false_cookie_takes_no_turn_from_those_without() -> None:
    turnstile = flooded()
    for number in range(1000):
        turnstile.admits(number << 20, has_cookie=True)
    assert turnstile.admits(NEWCOMER, has_cookie=False)


def test_known_sources_do_not_wait_for_strangers() -> None:
    turnstile = flooded()
    for _ in range(1000):
        turnstile.admits(1, has_cookie=False)
    assert turnstile.admits_known(5)


def test_of_many_from_known_sources_each_has_some() -> None:
    turnstile = flooded()
    entered = [turnstile.admits_known(5) for _ in range(100)]
    assert sum(entered) == 4, "the first two, and two of its own"
    assert turnstile.admits_known(6)
    assert not turnstile.admits_known(7), "there are more than that in all"
    turnstile.turn(1.3)
    assert turnstile.admits_known(7)

"""The schedule by itself. How a path uses it is in test_paths."""

from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.rounds import (
    FIRST_PAUSE,
    HOPELESS_PAUSE,
    HOPELESS_ROUNDS,
    LONGEST_PAUSE,
    SENDER_TRIES,
    Rounds,
)
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import Candidate, CandidateKind
from wireguard_mesh.model.relays import NatClass

FAR = Candidate(Endpoint.parse("198.51.100.2:51820"), CandidateKind.REFLEXIVE)
GLOBAL = Candidate(Endpoint.parse("[2001:db8::2]:51820"), CandidateKind.IPV6)
NEAR = Candidate(Endpoint.parse("192.168.1.2:51820"), CandidateKind.LAN)


def at(seconds: float) -> Instant:
    return Instant(seconds, seconds)


def test_nothing_is_due_before_it_is_asked_for_or_after_it_was_stopped() -> None:
    rounds = Rounds(is_elected=False)
    assert rounds.due_at == float("inf")
    rounds.hurry(0, at(5))
    assert rounds.due_at == 5
    rounds.stop()
    assert rounds.due_at == float("inf")


def test_however_often_there_is_news_rounds_have_a_pause_between() -> None:
    rounds = Rounds(is_elected=False)
    rounds.hurry(0, at(5))
    rounds.begin(at(5))
    rounds.hurry(0, at(5.001))
    assert rounds.due_at == 5 + FIRST_PAUSE
    rounds.hurry(60, at(6))
    assert rounds.due_at == 60


def test_the_candidates_on_a_common_link_are_known() -> None:
    rounds = Rounds(is_elected=False)
    rounds.candidates = (NEAR, FAR)
    assert rounds.near() == (NEAR.endpoint,)
    assert rounds.targets(is_near_only=True, is_at_stake=False) == (NEAR.endpoint,)


def test_between_two_hard_nats_ipv6_is_worth_as_many_rounds_as_anywhere() -> None:
    """Classes of NATs say nothing of IPv6: firewalls before it open like easy NATs."""
    pauses = {}
    for candidates in ((FAR,), (FAR, GLOBAL)):
        rounds = Rounds(is_elected=False)
        rounds.candidates, rounds.nats = candidates, (NatClass.HARD, NatClass.HARD)
        for _ in range(HOPELESS_ROUNDS + 1):
            rounds.begin(at(0))
        pauses[len(candidates)] = rounds.due_at
    assert pauses == {1: HOPELESS_PAUSE, 2: FIRST_PAUSE * 2**HOPELESS_ROUNDS}


def test_an_end_that_sends_tries_itself_now_and_then() -> None:
    assert tries(FAR, here=NatClass.EASY, there=NatClass.EASY) == [SENDER_TRIES - 1, 2 * SENDER_TRIES - 1]


def tries(*candidates: Candidate, here: NatClass, there: NatClass) -> list[int]:
    """In which of the first rounds an end that sends a flow tries itself."""
    rounds = Rounds(is_elected=False)
    rounds.candidates, rounds.nats = candidates, (here, there)
    found = []
    for number in range(8):
        if rounds.sender_tries():
            found.append(number)
        rounds.begin(at(number))
    return found


def test_what_stands_before_the_ends_decides_whether_a_flow_is_risked() -> None:
    assert tries(FAR, here=NatClass.HARD, there=NatClass.EASY) == [0, 1, 3, 7]
    assert tries(FAR, here=NatClass.EASY, there=NatClass.HARD) == []
    assert tries(FAR, here=NatClass.HARD, there=NatClass.HARD) == []
    assert tries(FAR, NEAR, here=NatClass.HARD, there=NatClass.HARD) == [0, 1, 3, 7]


@given(st.integers(0, 200), st.booleans(), st.booleans())
def test_there_is_always_a_next_round_and_not_too_late(count: int, is_elected: bool, is_hard: bool) -> None:
    rounds = Rounds(is_elected=is_elected)
    rounds.candidates = (FAR,)
    rounds.nats = (NatClass.HARD, NatClass.HARD) if is_hard else rounds.nats
    for _ in range(count):
        rounds.begin(at(0))
    rounds.begin(at(0))
    assert 0 < rounds.due_at <= LONGEST_PAUSE
    rounds.resume(at(10))
    assert 10 < rounds.due_at <= 10 + LONGEST_PAUSE

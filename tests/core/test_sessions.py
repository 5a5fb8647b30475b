import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.sessions import (
    FIRST_LOOK,
    LONGEST_TRY,
    RETRY,
    RETRY_ELECTED,
    RETRY_TRIPS,
    WATCH,
    Session,
)
from wireguard_mesh.core.tunnels import HEARD_FOR, KEEPALIVE_TIMEOUT, REJECT_AFTER_TIME, REKEY_TIMEOUT
from wireguard_mesh.model.devices import ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import PathKind

EPOCH = 1_000_000.0
A, B, C = (Endpoint.parse(f"192.0.2.{number}:51820") for number in (1, 2, 3))
FOREVER = float("inf")


def at(seconds: float, wall: float | None = None) -> Instant:
    return Instant(seconds, EPOCH + seconds if wall is None else wall)


def seen(handshake: float = 0.0, received: int = 0, endpoint: Endpoint | None = None) -> ObservedPeer:
    """`handshake` in the test's own seconds."""
    return ObservedPeer(
        public_key=public_key(1),
        latest_handshake=EPOCH + handshake if handshake else 0.0,
        received_bytes=received,
        endpoint=endpoint,
    )


def session(*candidates: Endpoint, start_at: float = 0.0) -> Session:
    one = Session(start_at=start_at)
    one.offer(None, candidates, at(start_at))
    return one


def endpoints_tried(one: Session, until: float) -> list[Endpoint | None]:
    """What is tried, each second a look, changes only."""
    tried: list[Endpoint | None] = []
    for second in range(int(until)):
        one.observe(seen(), at(second))
        one.tick(at(second))
        if not tried or tried[-1] != one.endpoint():
            tried.append(one.endpoint())
    return tried


def test_is_not_alive_before_a_handshake() -> None:
    one = session(A)
    assert not one.tunnel.alive(at(0))
    assert one.endpoint() == A


def test_without_candidates_there_is_nothing_to_try() -> None:
    one = session()
    one.tick(at(100))
    assert one.endpoint() is None
    assert one.change_at(at(100)) == FOREVER


def test_starts_at_its_time_and_not_before() -> None:
    one = session(A, start_at=0.3)
    assert not one.starts(at(0.29))
    assert one.starts(at(0.3))
    assert one.look_at(at(0.1)) == 0.3


def test_a_tunnel_that_lives_is_kept_open_before_that_too() -> None:
    one = session(A, start_at=10)
    one.observe(seen(handshake=1), at(2))
    assert one.starts(at(2))


def test_a_handshake_makes_it_alive_and_the_address_wireguards_own() -> None:
    one = session(A, B)
    one.observe(seen(handshake=1), at(2))
    assert one.tunnel.alive(at(2))
    assert one.endpoint() is None
    assert one.look_at(at(2)) == FOREVER
    assert one.change_at(at(2)) == 1 + REJECT_AFTER_TIME
    one.tick(at(100))
    assert one.endpoint() is None


def test_a_direct_path_that_carries_data_is_watched_where_a_relay_could_replace_it() -> None:
    one = session(A)
    one.observe(seen(handshake=1), at(2))
    one.offer(B, (A,), at(2))
    assert one.change_at(at(2)) == 1 + REJECT_AFTER_TIME
    one.observe(msgspec.structs.replace(seen(handshake=1), sent_bytes=5000), at(3))
    assert one.change_at(at(3)) == 1 + REJECT_AFTER_TIME
    one.path.kind = PathKind.DIRECT
    assert one.change_at(at(3)) == 3 + WATCH
    one.observe(msgspec.structs.replace(seen(handshake=1), sent_bytes=5032), at(4))
    assert one.change_at(at(4)) == 1 + REJECT_AFTER_TIME


def test_it_is_dead_after_reject_after_time() -> None:
    one = session(A)
    one.observe(seen(handshake=1), at(2))
    assert one.tunnel.alive(at(REJECT_AFTER_TIME))
    assert not one.tunnel.alive(at(1 + REJECT_AFTER_TIME))
    assert one.change_at(at(1 + REJECT_AFTER_TIME)) == 1 + REJECT_AFTER_TIME


def test_an_old_handshake_of_an_adopted_device_is_no_life() -> None:
    one = session(A)
    one.observe(seen(handshake=-1000), at(0))
    assert not one.tunnel.alive(at(0))


def test_received_bytes_are_life_when_they_grow() -> None:
    one = session(A)
    one.observe(seen(handshake=-1000, received=100), at(0))
    assert not one.tunnel.alive(at(0))
    one.observe(seen(handshake=-1000, received=200), at(5))
    assert one.tunnel.alive(at(5))
    assert one.tunnel.alive(at(4 + HEARD_FOR))
    assert not one.tunnel.alive(at(5 + HEARD_FOR))


def test_a_wall_clock_that_jumps_kills_and_revives_nothing() -> None:
    one = session(A)
    one.observe(seen(handshake=1), at(2))
    one.observe(seen(handshake=1), at(3, wall=EPOCH + 10**7))
    assert one.tunnel.alive(at(3, wall=EPOCH + 10**7))
    assert not one.tunnel.alive(at(200, wall=EPOCH))
    one.observe(seen(handshake=10**7), at(201, wall=EPOCH))
    assert one.tunnel.alive(at(201, wall=EPOCH))


def test_a_handshake_in_the_future_counts_from_now() -> None:
    one = session(A)
    one.observe(seen(handshake=500), at(2))
    assert one.tunnel.alive(at(2 + REJECT_AFTER_TIME - 1))
    assert not one.tunnel.alive(at(2 + REJECT_AFTER_TIME))


def test_a_device_made_anew_forgets_the_handshake() -> None:
    one = session(A)
    one.observe(seen(handshake=1), at(2))
    one.observe(seen(), at(3))
    assert not one.tunnel.alive(at(3))


def test_candidates_are_tried_in_turn_each_for_rekey_timeout() -> None:
    assert endpoints_tried(session(A, B, C), 4 * REKEY_TIMEOUT) == [A, B, C, A]


def test_trying_slows_down_but_never_stops() -> None:
    one = session(A, B)
    tried = endpoints_tried(one, 2000)
    assert tried[:6] == [A, B, A, B, A, B]
    assert len(tried) < 2000 / LONGEST_TRY + 12
    before = one.endpoint()
    one.tick(at(2000 + LONGEST_TRY))
    assert one.endpoint() != before


def test_new_candidates_are_tried_from_the_first() -> None:
    one = session(A, B)
    one.tick(at(REKEY_TIMEOUT))
    assert one.endpoint() == B
    one.offer(None, (A, B), at(6))
    assert one.endpoint() == B
    one.offer(None, (C, A), at(6))
    assert one.endpoint() == C
    assert one.change_at(at(6)) == 6 + REKEY_TIMEOUT


def test_new_candidates_do_not_touch_a_living_tunnel() -> None:
    one = session(A)
    one.observe(seen(handshake=1), at(2))
    one.offer(None, (B,), at(3))
    assert one.endpoint() is None


def test_candidates_that_become_fewer_are_never_overrun() -> None:
    one = session(A, B)
    one.tick(at(REKEY_TIMEOUT))
    one.offer(None, (), at(6))
    assert one.endpoint() is None


def test_after_death_the_last_address_comes_first_then_the_candidates() -> None:
    one = session(A, B)
    one.observe(seen(handshake=1), at(2))
    one.observe(seen(handshake=1), at(300))
    one.tick(at(300))
    assert one.endpoint() is None
    one.tick(at(300 + REKEY_TIMEOUT))
    assert one.endpoint() == A


def test_an_adopted_peer_goes_on_from_the_address_that_it_has() -> None:
    one = session(A, B, C)
    one.observe(seen(endpoint=B), at(0))
    assert one.endpoint() == B
    one.tick(at(REKEY_TIMEOUT))
    assert one.endpoint() == C


def test_an_adopted_peer_with_an_unknown_address_is_tried_there_first() -> None:
    one = session(A, B)
    one.observe(seen(endpoint=C), at(0))
    assert one.endpoint() is None
    one.tick(at(REKEY_TIMEOUT))
    assert one.endpoint() == A


def test_a_peer_that_the_device_does_not_have_yet_is_none_that_was_adopted() -> None:
    one = session(A, B)
    one.observe(None, at(0))
    one.observe(seen(endpoint=B), at(1))
    assert one.endpoint() == A


def test_the_first_handshake_is_looked_for_soon_then_less_and_less() -> None:
    one = session(A)
    looks = [0.0]
    while looks[-1] < 100:
        looks.append(one.look_at(at(looks[-1])))
    assert looks[1] == FIRST_LOOK
    assert looks[-1] == FOREVER
    assert len(looks) < 12
    assert looks == sorted(looks)


@given(st.lists(st.tuples(st.floats(0.01, 120), st.booleans(), st.booleans()), max_size=40))
def test_time_never_stands_still(steps: list[tuple[float, bool, bool]]) -> None:
    one = session(A, B)
    now, handshake, received = 0.0, 0.0, 1
    for seconds, shakes, receives in steps:
        now += seconds
        handshake = now if shakes else handshake
        received += receives
        one.observe(seen(handshake=handshake, received=received), at(now))
        one.tick(at(now))
        if shakes:
            assert one.tunnel.alive(at(now))
        assert one.tunnel.alive(at(now)) <= (one.endpoint() is None)
        assert one.change_at(at(now)) > now
        assert one.look_at(at(now)) > now


def test_news_of_a_dead_peer_does_not_hurry_past_the_address_where_it_was_last() -> None:
    one = session(A)
    one.observe(seen(handshake=1), at(1))
    one.observe(seen(handshake=1), at(1 + REJECT_AFTER_TIME))
    one.offer(None, (B,), at(2 + REJECT_AFTER_TIME))
    assert one.endpoint() is None
    one.tick(at(1 + REJECT_AFTER_TIME + REKEY_TIMEOUT))
    assert one.endpoint() == B


def test_who_is_silent_to_data_does_not_answer() -> None:
    one = session(A)

    def look(second: float, sent: int, received: int = 100) -> bool:
        observed = msgspec.structs.replace(seen(handshake=1, received=received), sent_bytes=sent)
        one.observe(observed, at(second))
        return one.tunnel.answers(at(second))

    assert look(1, 1000)
    assert look(60, 1000 + 2 * 32), "keepalives are not answered"
    # Data that was sent a moment ago may be answered yet.
    assert look(75, 5000)
    assert look(85, 9000)
    assert not look(75 + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT, 9000)
    assert look(100, 9000, received=132)
    assert look(115, 9032, received=132)


def test_a_doubt_ends_with_the_tunnel() -> None:
    one = session(A)
    one.observe(seen(handshake=1, received=10), at(1))
    one.doubt(at(2))
    one.observe(seen(handshake=1, received=10), at(3))
    assert one.call_due
    one.observe(seen(handshake=1, received=10), at(1 + REJECT_AFTER_TIME))
    assert not one.tunnel.alive(at(1 + REJECT_AFTER_TIME))
    assert one.change_at(at(1 + REJECT_AFTER_TIME)) < FOREVER


R = Endpoint.parse("203.0.113.1:8080")


def test_a_relay_is_tried_before_all_else() -> None:
    one = Session(start_at=0)
    one.offer(R, (A, B), at(0))
    assert endpoints_tried(one, 4 * REKEY_TIMEOUT + 2) == [R, A, R, B]


@pytest.mark.parametrize(("is_elected", "seconds"), [(True, RETRY_ELECTED), (False, RETRY)])
def test_a_call_by_relay_that_is_not_answered_is_begun_anew_once_and_by_one_end_first(
    is_elected: bool, seconds: float
) -> None:
    one = Session(start_at=0.5, is_elected=is_elected)
    one.offer(R, (A,), at(0))
    assert one.change_at(at(1)) == 0.5 + seconds
    assert resets(one, at(0.49 + seconds), at(0.5 + seconds), at(0.51 + seconds)) == [False, True, False]
    assert one.endpoint() == R
    assert one.change_at(at(2.5)) == 0.5 + seconds + REKEY_TIMEOUT
    assert resets(one, at(0.4 + seconds + REKEY_TIMEOUT)) == [False]
    assert one.endpoint() == R
    assert resets(one, at(0.5 + seconds + REKEY_TIMEOUT)) == [False]
    assert one.endpoint() == A


def resets(one: Session, *moments: Instant) -> list[bool]:
    """Whether it is to be begun anew at each of these moments."""
    found = []
    for moment in moments:
        one.tick(moment)
        found.append(one.reset_due)
        one.reset_due = False
    return found


def test_far_from_the_relay_an_answer_is_given_more_time() -> None:
    one = Session(start_at=0, is_elected=True)
    one.offer(R, (A,), at(0), relay_seconds=2)
    one.reset_due = False
    assert resets(one, at(RETRY_TRIPS * 2 - 0.1), at(RETRY_TRIPS * 2)) == [False, True]
    assert one.endpoint() == R


def test_a_tunnel_that_came_to_life_is_not_begun_anew() -> None:
    one = Session(start_at=0, is_elected=True)
    one.offer(R, (A,), at(0))
    one.observe(seen(handshake=0.4), at(0.5))
    one.tick(at(RETRY_ELECTED))
    assert not one.reset_due
    assert one.endpoint() is None


def test_who_may_call_earlier_retries_earlier() -> None:
    one = Session(start_at=1, is_elected=True)
    one.offer(R, (A,), at(0))
    one.hasten(0.25)
    one.tick(at(0.25 + RETRY_ELECTED))
    assert one.reset_due


def test_a_relay_that_comes_while_others_are_tried_is_tried_at_once() -> None:
    one = session(A, B)
    one.observe(seen(), at(1))
    one.offer(R, (A, B), at(2))
    assert one.endpoint() == R
    assert one.reset_due
    one.observe(seen(handshake=2), at(2.1))
    assert not one.reset_due


def test_a_relay_that_comes_before_the_start_needs_no_hurry() -> None:
    one = session(A, start_at=5)
    one.offer(R, (A,), at(2))
    assert one.endpoint() == R
    assert not one.reset_due


def test_other_candidates_beside_the_same_relay_disturb_no_handshake_by_it() -> None:
    one = Session(start_at=0)
    one.offer(R, (A,), at(0))
    one.reset_due = False
    one.offer(R, (B,), at(0.5))
    assert one.endpoint() == R
    assert resets(one, at(0.5), at(RETRY)) == [False, True]


def test_what_was_waited_for_lets_us_call_earlier_and_never_later() -> None:
    one = session(A, start_at=1)
    one.hasten(0.2)
    assert one.starts(at(0.2))
    one.hasten(3)
    assert one.starts(at(0.2))


def test_a_doubted_tunnel_that_stays_silent_tries_the_relay_alone() -> None:
    one = Session(start_at=0)
    one.offer(R, (A, B), at(0))
    one.observe(seen(handshake=1, received=10), at(1))
    one.doubt(at(2))
    one.observe(seen(handshake=1, received=10), at(2))
    for second in (8, 14, 20):
        one.tick(at(second))
        assert one.is_trying()
        assert one.endpoint() == R

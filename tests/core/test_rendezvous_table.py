"""Who is where: sessions as values, without a handshake."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import public_key
from tests.core.wireguard_peer import address, at
from wireguard_mesh.core.rendezvous_table import REJECT_AFTER_TIME, SAVED_EACH, TAKEN_SECONDS, Point, Session, Table
from wireguard_mesh.core.sources import Source, WebSource

PEERS = (1, 2, 3)
VANTAGES = 2


def table() -> Table:
    made = Table(VANTAGES)
    for number in PEERS:
        made.admit(public_key(number))
    return made


def point(ours: Table, number: int, vantage: int = 0) -> Point:
    found = ours.point(public_key(number).raw, vantage)
    assert found is not None
    return found


def answered(ours: Table, number: int, index: int, seconds: float = 0.0, vantage: int = 0) -> Session:
    """A session of which the peer has the answer perhaps."""
    session = Session(point(ours, number, vantage), index, bytes(32), address(number), at(seconds))
    ours.begin(session)
    return session


def joined(
    ours: Table, number: int, index: int, source: Source | None = None, seconds: float = 0.0, vantage: int = 0
) -> Session:
    """A session that is confirmed from there."""
    session = answered(ours, number, index, seconds, vantage)
    ours.confirm(session, source or address(number), seconds)
    return session


def test_a_session_counts_when_it_is_confirmed() -> None:
    ours = table()
    session = answered(ours, 1, index=7)
    assert ours.session(7) is session
    assert ours.source_of(public_key(1).raw) is None
    assert list(ours.confirmed()) == []
    ours.confirm(session, address(1), 0.0)
    assert ours.source_of(public_key(1).raw) == address(1)
    assert ours.key_at(address(1)) == public_key(1)
    assert list(ours.confirmed()) == ours.unsaved() == [session]
    assert ours.moved() == [session.point]
    assert (ours.moved(), ours.unsaved()) == ([], []), "each is said once"


def test_of_a_point_there_are_two_sessions_at_most() -> None:
    ours = table()
    first = joined(ours, 1, index=1)
    answered(ours, 1, index=2)
    third = answered(ours, 1, index=3)
    assert [ours.session(index) for index in (1, 2, 3)] == [first, None, third]
    ours.confirm(third, address(1), 1.0)
    assert [ours.session(index) for index in (1, 2, 3)] == [None, None, third]


def test_a_handshake_from_the_same_place_moves_nobody() -> None:
    ours = table()
    joined(ours, 1, index=1)
    ours.moved()
    joined(ours, 1, index=2, seconds=1.0)
    assert ours.moved() == []


def test_the_second_vantage_point_holds_no_place() -> None:
    ours = table()
    session = joined(ours, 1, index=1, vantage=1)
    assert session.point.source == address(1)
    assert ours.source_of(public_key(1).raw) is None
    assert ours.key_at(address(1)) is None
    assert ours.moved() == [session.point]
    other = joined(ours, 2, index=2, source=address(1), vantage=1)
    assert (session.source, other.source) == (address(1), address(1)), "there it is observed, and nothing else"


def test_who_moves_leaves_its_place() -> None:
    ours = table()
    session = joined(ours, 1, index=1)
    ours.moved()
    ours.roam(session, address(9), SAVED_EACH)
    assert (ours.key_at(address(1)), ours.key_at(address(9))) == (None, public_key(1))
    assert ours.moved() == [session.point]


def test_who_moves_much_is_saved_now_and_then() -> None:
    ours = table()
    session = joined(ours, 1, index=1)
    ours.unsaved()
    ours.roam(session, address(8), 10.0)
    assert ours.unsaved() == [session]
    ours.roam(session, address(9), 10.0 + SAVED_EACH / 2)
    assert ours.unsaved() == []
    ours.expire(11.0)
    assert ours.unsaved() == [session], "where it is now is not lost"


@pytest.mark.parametrize(("later", "is_taken"), [(TAKEN_SECONDS - 1, False), (TAKEN_SECONDS, True)])
def test_a_place_belongs_to_who_was_heard_there_last(later: float, is_taken: bool) -> None:
    ours = table()
    first, second = joined(ours, 1, index=1), joined(ours, 2, index=2)
    ours.moved()
    ours.roam(second, address(1), later)
    assert ours.key_at(address(1)) == public_key(2 if is_taken else 1)
    assert first.source == (None if is_taken else address(1))
    assert set(ours.moved()) == ({first.point, second.point} if is_taken else set())


def test_a_handshake_takes_a_place_at_once() -> None:
    """The one who confirms has received the answer there."""
    ours = table()
    first = joined(ours, 1, index=1)
    second = Session(point(ours, 2), 2, bytes(32), address(1), at(1.0))
    ours.begin(second)
    ours.confirm(second, address(1), 1.0)
    assert ours.key_at(address(1)) == public_key(2)
    assert first.source is None
    ours.dismiss(public_key(1))
    assert ours.key_at(address(1)) == public_key(2), "who is nowhere leaves nothing"


def test_a_confirmation_from_anothers_place_counts_where_the_answer_went() -> None:
    ours = table()
    joined(ours, 1, index=1)
    second = joined(ours, 2, index=2, source=address(1), seconds=1.0)
    assert ours.key_at(address(1)) == public_key(1)
    assert second.source == address(2)


def test_what_was_restored_stays_until_a_handshake() -> None:
    ours = table()
    session = Session(point(ours, 1), 5, bytes(32), address(1), at(0))
    ours.restore(session)
    assert ours.moved() == [session.point]
    ours.roam(session, address(9), 5.0)
    assert ours.source_of(public_key(1).raw) == address(1)
    carrier = WebSource(1, public_key(1))
    ours.roam(session, carrier, 6.0)
    assert ours.key_at(carrier) == public_key(1), "nothing is replayed on a WebSocket"
    again = joined(ours, 1, index=6, seconds=7.0)
    ours.roam(again, address(9), 8.0)
    assert ours.key_at(address(9)) == public_key(1)


def test_the_newest_that_was_restored_counts() -> None:
    ours = table()
    for index, seconds in ((1, 20.0), (2, 10.0)):
        ours.restore(Session(point(ours, index), index, bytes(32), address(index), at(seconds)))
    newer = Session(point(ours, 1), 3, bytes(32), address(3), at(30.0))
    ours.restore(newer)
    ours.settle()
    assert [session.index for session in ours.confirmed()] == [2, 3]
    assert ours.session(1) is None
    ours.expire(10.0 + REJECT_AFTER_TIME + 1)
    assert list(ours.confirmed()) == [newer], "oldest first, also when the files say it otherwise"


def test_sessions_end_with_their_age() -> None:
    ours = table()
    old = joined(ours, 1, index=1)
    waiting = answered(ours, 2, index=2)
    young = joined(ours, 3, index=3, seconds=1.0)
    ours.moved()
    ours.expire(REJECT_AFTER_TIME)
    assert ours.session(1) is old
    ours.expire(REJECT_AFTER_TIME + 0.5)
    assert [ours.session(index) for index in (1, 2, 3)] == [None, None, young]
    assert waiting.point.pending is None
    assert ours.moved() == [old.point], "nobody was anywhere by a session that only waited"
    assert ours.key_at(address(1)) is None


def test_who_is_dismissed_is_forgotten_at_once() -> None:
    ours = table()
    joined(ours, 1, index=1)
    joined(ours, 1, index=2, vantage=1)
    answered(ours, 1, index=3)
    ours.dismiss(public_key(1))
    ours.dismiss(public_key(1))
    assert ours.point(public_key(1).raw, 0) is None
    assert ours.source_of(public_key(1).raw) is None
    assert [ours.session(index) for index in (1, 2, 3)] == [None, None, None]
    assert (ours.moved(), ours.unsaved()) == ([], [])


def test_who_is_admitted_again_goes_on() -> None:
    ours = table()
    session = joined(ours, 1, index=1)
    ours.admit(public_key(1))
    assert point(ours, 1).confirmed is session


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "answer", "roam", "restore", "dismiss", "expire"]),
        st.sampled_from(PEERS),
        st.integers(0, VANTAGES - 1),
        st.integers(1, 4),
        st.floats(0, 100),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(STEPS)
def test_a_place_is_one_peers_and_a_peer_in_one_place(steps: list[tuple[str, int, int, int, float]]) -> None:
    ours = table()
    now = 0.0
    for index, (step, number, vantage, place, wait) in enumerate(steps):
        now += wait
        spot = point(ours, number, vantage)
        match step:
            case "join":
                joined(ours, number, index, address(place), now, vantage)
            case "answer":
                answered(ours, number, index, now, vantage)
            case "roam" if spot.confirmed is not None:
                spot.confirmed.heard = now
                ours.roam(spot.confirmed, address(place), now)
            case "restore":
                ours.restore(Session(spot, index, bytes(32), address(place), at(now)))
                ours.settle()
            case "dismiss":
                ours.dismiss(public_key(number))
                ours.admit(public_key(number))
            case "expire":
                ours.expire(now)
        there = {key: ours.source_of(key.raw) for key in map(public_key, PEERS)}
        for key, source in there.items():
            assert source is None or ours.key_at(source) == key
        sessions = list(ours.confirmed())
        assert len(sessions) <= len(PEERS) * VANTAGES
        assert [session.created for session in sessions] == sorted(session.created for session in sessions)
        assert all(ours.session(session.index) is session for session in sessions)

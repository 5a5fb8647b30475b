"""Initiations, responses and cookie replies through a relay."""

from __future__ import annotations

from tests.core.forwarding_samples import Pairs, cookie_reply, initiation, response, source, transport
from tests.samples import public_key
from wireguard_mesh.core.forwarding_handshakes import INITIATION_BURST, INITIATION_RATE
from wireguard_mesh.core.forwarding_peers import Drop
from wireguard_mesh.core.forwarding_routes import RESPONSE_TIME
from wireguard_mesh.core.forwarding_search import MAX_WAITING_EACH


def test_a_response_comes_once_and_in_time() -> None:
    pairs = Pairs()
    assert pairs.one(1, initiation(2, 0xA)) == source(2)
    assert pairs.one(2, response(0xB, 0xA), RESPONSE_TIME) is None
    assert pairs.one(1, initiation(2, 0xA), 20.0) == source(2)
    assert pairs.one(3, response(0xB, 0xA), 20.0) is None, "it is not the one who was called"
    assert pairs.one(2, response(0xB, 0xA), 20.0) == source(1)
    assert pairs.one(2, response(0xC, 0xA), 20.0) is None
    assert pairs.forwarder.dropped == {Drop.NO_ROUTE: 3}


def test_a_response_to_one_who_went_goes_nowhere() -> None:
    pairs = Pairs()
    assert pairs.one(1, initiation(2, 0xA)) == source(2)
    pairs.forwarder.locate(public_key(1), None)
    assert pairs.one(2, response(0xB, 0xA)) is None
    assert pairs.forwarder.dropped == {Drop.NOT_HERE: 1}


def test_cookie_replies_go_both_ways() -> None:
    pairs = Pairs()
    assert pairs.one(1, initiation(2, 0xA)) == source(2)
    assert pairs.one(2, cookie_reply(0xA)) == source(1)
    assert pairs.one(2, cookie_reply(0xA), RESPONSE_TIME) is None
    assert pairs.one(1, initiation(2, 0xA), 20.0) == source(2)
    assert pairs.one(2, response(0xB, 0xA), 20.0) == source(1)
    assert pairs.one(1, cookie_reply(0xB), 20.0) == source(2)
    assert pairs.one(1, cookie_reply(0xB), 200.0) is None
    assert pairs.one(1, cookie_reply(0x99), 20.0) is None


def test_two_who_await_the_same_index_do_not_mix() -> None:
    pairs = Pairs()
    assert pairs.one(1, initiation(2, 0xA)) == source(2)
    assert pairs.one(3, initiation(2, 0xA)) is None
    assert pairs.one(1, initiation(2, 0xA)) == source(2), "the same again is the same"
    assert pairs.one(2, response(0xB, 0xA)) == source(1)
    assert pairs.forwarder.dropped == {Drop.COLLISION: 1}


def test_an_index_in_use_is_not_taken_over() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    assert pairs.one(1, initiation(3, 0xC)) == source(3)
    assert pairs.one(3, response(0xB, 0xC)) is None, "the index of 2's session with 1"
    assert pairs.one(1, transport(0xB)) == source(2)
    assert pairs.one(3, initiation(2, 0xA)) == source(2)
    assert pairs.one(2, response(0xD, 0xA)) is None, "2 sends with this index to 1"
    assert pairs.one(2, transport(0xA)) == source(1)
    assert pairs.forwarder.dropped == {Drop.COLLISION: 2}


def test_a_session_that_ended_leaves_its_index() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    pairs.shake(1, 3, 0xA, 0xB, now=180.0)
    assert pairs.one(1, transport(0xB), 180.0) == source(3)


def test_known_partners_are_found_at_once_and_others_by_search() -> None:
    pairs = Pairs(40)
    pairs.shake(1, 40, 0xA, 0xB)
    assert pairs.waiting(1, initiation(40, 0xC)) == source(40)
    assert pairs.waiting(40, initiation(1, 0xD)) == source(1)
    assert pairs.waiting(1, initiation(39, 0xE)) is None
    assert pairs.forwarder.is_searching
    assert pairs.forwarder.search(1000, 0.0) == [(source(39), initiation(39, 0xE))]
    assert not pairs.forwarder.is_searching


def test_a_search_ends_forbidden_or_nowhere_too() -> None:
    pairs = Pairs()
    for number in (1, 3):
        assert pairs.waiting(number, initiation(2, number)) is None
    pairs.forbid(1, 2)
    pairs.forwarder.locate(public_key(3), None)
    assert pairs.forwarder.search(1000, 0.0) == []
    assert pairs.forwarder.dropped == {Drop.FORBIDDEN: 1, Drop.NOT_HERE: 1}


def test_who_calls_too_often_is_not_searched_for() -> None:
    pairs = Pairs()
    for index in range(int(INITIATION_BURST)):
        assert pairs.one(1, initiation(2, index)) == source(2)
    assert pairs.one(1, initiation(2, 5000)) is None
    assert pairs.one(3, initiation(2, 5001)) == source(2), "another may"
    assert pairs.one(1, initiation(2, 5002), 1.0) == source(2)
    assert pairs.forwarder.dropped == {Drop.TOO_FAST: 1}


def test_who_calls_nobody_may_call_less() -> None:
    pairs = Pairs()
    calls = 0
    while not pairs.forwarder.dropped[Drop.TOO_FAST]:
        pairs.one(1, initiation(77, calls))
        calls += 1
    assert calls < INITIATION_BURST / 20
    assert pairs.one(1, initiation(2, calls), 5 / INITIATION_RATE) is None
    assert pairs.one(1, initiation(2, calls), 60.0) == source(2)


def test_not_more_wait_than_there_is_room_for() -> None:
    pairs = Pairs()
    for index in range(MAX_WAITING_EACH + 1):
        assert pairs.waiting(1, initiation(2, index), index / INITIATION_RATE) is None
    assert pairs.forwarder.dropped == {Drop.BUSY: 1}

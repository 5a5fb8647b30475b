"""Looks by themselves. How the engine comes to them is in test_engine."""

import msgspec

from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.looks import CALL_GAP, HURRIED_COST, IDLE_LOOK, RELAY_IDLE_LOOK, Looks
from wireguard_mesh.core.sessions import Session
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.model.relays import Relay, RelayId, VantagePoint

MAP = NetworkMap(epoch="e", revision=1, network=NETWORK, me=peer(1), peers={public_key(2): peer(2)})
RELAY = Relay(id=RelayId("a"), vantage_points=(VantagePoint(public_key(90), 8080),))
NEVER = float("inf")


def at(seconds: float) -> Instant:
    return Instant(seconds, seconds)


def looked(seconds: float) -> Looks:
    looks = Looks()
    looks.must_look = False
    looks.looked(at(seconds))
    return looks


def test_idle_a_device_is_looked_at_now_and_then_and_oftener_where_there_is_a_relay_to_go_to() -> None:
    assert looked(5).next(MAP, {}, NEVER, at(5)) == 5 + IDLE_LOOK
    with_relay = msgspec.structs.replace(MAP, relays=(RELAY,))
    assert looked(5).next(with_relay, {}, NEVER, at(5)) == 5 + RELAY_IDLE_LOOK


def test_relays_may_ask_for_a_look() -> None:
    assert looked(5).next(MAP, {}, 7, at(5)) == 7


def test_a_look_that_must_be_is_now_but_not_before_the_last_one_has_paid() -> None:
    looks = looked(5)
    looks.must_look = True
    sessions = {public_key(2): Session(start_at=0)}
    assert looks.next(MAP, sessions, NEVER, at(5)) == 5 + HURRIED_COST
    assert looks.next(MAP, sessions, NEVER, at(6)) == 6
    assert looks.next(None, {}, NEVER, at(5)) == 5 + IDLE_LOOK


def test_what_was_reckoned_holds_until_something_changes() -> None:
    looks = looked(5)
    looks.hasten(6)  # nothing is reckoned yet
    assert looks.next(MAP, {}, NEVER, at(5)) == 5 + IDLE_LOOK
    assert looks.next(MAP, {}, 7, at(5)) == 5 + IDLE_LOOK
    looks.hasten(9)
    assert looks.next(MAP, {}, NEVER, at(5)) == 9
    looks.changed()
    assert looks.next(MAP, {}, 7, at(5)) == 7


def test_calls_have_a_gap_between() -> None:
    looks = looked(5)
    assert looks.may_call(at(5), has_calls=True)
    looks.called(at(5), has_calls=True)
    assert not looks.may_call(at(5.1), has_calls=True)
    looks.looked(at(5.1))
    assert looks.next(MAP, {}, NEVER, at(5.1)) == 5 + CALL_GAP
    assert looks.may_call(at(5 + CALL_GAP), has_calls=False)

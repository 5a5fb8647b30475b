import pytest

from tests.core.relay_samples import MAPPED, at
from tests.samples import public_key
from wireguard_mesh.core.vantages import MISSES, RETRIES, TRUST, Vantage
from wireguard_mesh.model.devices import ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint

V4, V6 = Endpoint.parse("203.0.113.1:8080"), Endpoint.parse("[2001:db8::1]:8080")
KEY = public_key(1)
FOREVER = float("inf")


def seen(handshake: float, endpoint: Endpoint | None = V4) -> ObservedPeer:
    return ObservedPeer(public_key=KEY, endpoint=endpoint, latest_handshake=at(handshake).wall if handshake else 0.0)


def is_due(vantage: Vantage) -> bool:
    return vantage.reset_due


def is_dead(vantage: Vantage) -> bool:
    return vantage.is_dead


def test_a_handshake_that_is_awaited_is_helped_along_and_then_left_to_wireguard() -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.observe(seen(0), at(10))
    assert vantage.retry_at() == 10 + RETRIES[0]
    for retry in RETRIES:
        assert not is_due(vantage)
        vantage.observe(seen(0), at(10 + retry))
        assert is_due(vantage)
        vantage.reset_due = False
    assert vantage.retry_at() == FOREVER
    vantage.observe(seen(0), at(100))
    assert not is_due(vantage)


def test_where_there_are_several_addresses_they_take_turns() -> None:
    vantage = Vantage(KEY, (V4, V6))
    used = []
    for tenth in range(170):
        vantage.observe(seen(0), at(10 + tenth / 10))
        used.append(vantage.endpoint)
    assert used[:10] == [V4] * 10
    assert used[10:50] == [V6] * 40
    assert used[50:100] == [V4] * 50
    assert used[100:150] == [V6] * 50


def test_an_address_in_use_is_kept_when_others_come() -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.offer((V6, V4))
    assert vantage.endpoint == V4
    assert not is_due(vantage)
    vantage.offer((V6,))
    assert vantage.endpoint == V6
    assert is_due(vantage)


def test_without_an_address_there_is_nowhere_to_ask() -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.offer(())
    for second in (0, 2, 2):
        vantage.observe(seen(0), at(second))
    assert vantage.endpoint is None


def test_a_session_answers_for_as_long_as_wireguard_uses_it() -> None:
    vantage = Vantage(KEY, (V4,))
    assert not vantage.answers(at(0))
    vantage.observe(seen(0), at(0))
    vantage.observe(seen(1), at(1))
    assert vantage.asked_at is None
    assert vantage.retry_at() == FOREVER
    assert vantage.answers(at(180))
    assert not vantage.answers(at(181))
    assert vantage.expires_at() == 181


def test_a_session_that_is_made_anew_is_trusted_for_a_while() -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.observe(seen(1), at(1))
    vantage.restart()
    vantage.observe(seen(1), at(2))  # it is still to be made anew
    assert vantage.works(at(2))
    vantage.reset_due = False
    vantage.observe(seen(0), at(3))
    assert not vantage.answers(at(3))
    assert vantage.works(at(3))
    assert vantage.expires_at() == 3 + TRUST
    assert not vantage.works(at(3 + TRUST))


@pytest.mark.parametrize("endpoint", [None, Endpoint.parse("198.51.100.1:8080")])
def test_a_relay_that_answers_from_elsewhere_answers_by_udp(endpoint: Endpoint | None) -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.observe(seen(1, endpoint), at(1))
    assert vantage.answers(at(1))
    assert not vantage.is_carried


def test_a_relay_on_this_machine_is_not_carried() -> None:
    here = Endpoint.parse("127.0.0.1:8080")
    vantage = Vantage(KEY, (here,))
    vantage.observe(seen(1, here), at(1))
    assert not vantage.is_carried


def test_what_the_device_does_not_have_is_not_awaited() -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.observe(seen(1), at(1))
    vantage.observe(None, at(2))
    assert vantage.asked_at is None
    assert not vantage.works(at(2))


def test_one_that_was_dead_and_answers_is_begun_with_anew() -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.observe(seen(1), at(1))
    for number in range(MISSES):
        assert vantage.answers(at(2))
        vantage.missed(at(2 + number))
    assert is_dead(vantage)
    assert vantage.missed_at == 2
    assert not vantage.works(at(5))
    vantage.ponged(0.02, MAPPED, at(6))
    assert not is_dead(vantage)
    assert is_due(vantage)
    assert (vantage.seconds, vantage.mapped, vantage.pong_at) == (0.02, MAPPED, 6)
    vantage.reset_due = False
    vantage.ponged(0.02, MAPPED, at(7))
    assert not is_due(vantage)


def test_a_handshake_is_a_sign_of_life_too() -> None:
    vantage = Vantage(KEY, (V4,))
    vantage.observe(seen(1), at(1))
    for _ in range(MISSES):
        vantage.missed(at(2))
    vantage.observe(seen(3), at(3))
    assert vantage.answers(at(3))


def test_another_network_forgets_how_far_it_is() -> None:
    vantage = Vantage(KEY, (V4, V6))
    vantage.ponged(0.02, MAPPED, at(1))
    vantage.moved()
    assert vantage.seconds is None
    assert vantage.pinged_at == -FOREVER

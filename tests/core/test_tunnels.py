"""Liveness. How sessions use it is in test_sessions."""

from hypothesis import given
from hypothesis import strategies as st

from tests.samples import public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.tunnels import (
    BUSY_RATE,
    RATE_WINDOW,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
    REKEY_ATTEMPT_TIME,
    REKEY_TIMEOUT,
    Tunnel,
    is_fresh,
)
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.names import InterfaceName

EPOCH = 1_000_000.0


def at(seconds: float) -> Instant:
    return Instant(seconds, EPOCH + seconds)


def seen(handshake: float = 0.0, received: int = 0, sent: int = 0) -> ObservedPeer:
    """`handshake` in the test's own seconds."""
    return ObservedPeer(
        public_key=public_key(1),
        latest_handshake=EPOCH + handshake if handshake else 0.0,
        received_bytes=received,
        sent_bytes=sent,
    )


def flowing(sent: float, received: float) -> Tunnel:
    """After a second with these rates."""
    tunnel = Tunnel()
    tunnel.observe(seen(1, 100, 100), at(1))
    tunnel.observe(seen(1, 100 + int(received), 100 + int(sent)), at(2))
    return tunnel


def test_how_long_data_is_unanswered_and_how_long_nothing_was_heard() -> None:
    tunnel = Tunnel()
    tunnel.observe(seen(1, 100), at(1))
    assert tunnel.unanswered_for(at(9)) == 0
    tunnel.observe(seen(1, 100, 5000), at(10))
    assert tunnel.unanswered_for(at(13)) == 3
    assert tunnel.silent_for(at(13)) == 12
    assert not tunnel.heard_since(1)
    assert tunnel.observe(seen(1, 132, 6000), at(14))
    assert tunnel.unanswered_for(at(15)) == 0
    assert tunnel.silent_for(at(15)) == 1
    assert tunnel.heard_since(13)


def test_made_anew_it_is_as_good_as_new_and_keeps_its_exit_node_for_a_moment() -> None:
    tunnel = Tunnel()
    tunnel.observe(seen(1, 100), at(1))
    tunnel.observe(seen(1, 100, 5000), at(10))
    assert not tunnel.is_old(at(10))
    assert tunnel.is_old(at(1 + REKEY_AFTER_TIME))
    assert not tunnel.is_renewing(at(20))
    tunnel.renewed(at(20))
    assert not tunnel.alive(at(20))
    assert tunnel.unanswered_for(at(30)) == 0
    assert tunnel.is_renewing(at(20))
    assert not tunnel.is_renewing(at(20 + REKEY_ATTEMPT_TIME))
    assert tunnel.answers(at(20))
    assert not tunnel.answers(at(20 + REKEY_TIMEOUT))
    tunnel.observe(seen(21, 92), at(21))
    assert tunnel.alive(at(21))
    assert tunnel.heard_since(20)


def test_dies_when_nothing_comes() -> None:
    tunnel = Tunnel()
    tunnel.observe(seen(5), at(6))
    assert tunnel.dead_at() == 5 + REJECT_AFTER_TIME
    assert tunnel.alive(at(tunnel.dead_at() - 0.1))
    assert not tunnel.alive(at(tunnel.dead_at()))


def test_one_packet_is_no_flow() -> None:
    tunnel = Tunnel()
    tunnel.observe(seen(1, 100, 100), at(1))
    tunnel.observe(seen(1, 1600, 100), at(1 + RATE_WINDOW / 2))
    assert not tunnel.is_busy
    tunnel.observe(seen(1, 1600, 100), at(2))
    assert not tunnel.is_busy


def test_counters_of_a_device_made_anew_are_no_flow() -> None:
    tunnel = flowing(1e6, 1e6)
    assert tunnel.is_busy
    tunnel.observe(seen(3), at(3))
    assert not tunnel.is_busy


def test_who_sends_a_flow() -> None:
    assert flowing(2 * BUSY_RATE, 0).sends_most(is_elected=True)
    assert flowing(2 * BUSY_RATE, 0).sends_much
    assert not flowing(0, 2 * BUSY_RATE).sends_most(is_elected=False)
    assert flowing(0, 2 * BUSY_RATE).receives_much
    assert not flowing(BUSY_RATE / 2, 0).sends_most(is_elected=False)


@given(st.floats(2 * BUSY_RATE, 1e9), st.floats(2 * BUSY_RATE, 1e9), st.booleans())
def test_of_two_ends_that_send_exactly_one_sends_most(one: float, other: float, is_elected: bool) -> None:
    here = flowing(one, other).sends_most(is_elected=is_elected)
    there = flowing(other, one).sends_most(is_elected=not is_elected)
    ratio = max(one, other) / min(one, other)
    assert here != there or abs(ratio - 1.5) < 1e-3


def test_one_look_at_a_device_tells_a_young_handshake_from_an_old_one() -> None:
    device = ObservedDevice(
        name=InterfaceName("wg0"), backend=BackendKind.USERSPACE, peers={public_key(1): seen(handshake=10)}
    )
    assert is_fresh(device, public_key(1), EPOCH + 10 + REJECT_AFTER_TIME - 1)
    assert not is_fresh(device, public_key(1), EPOCH + 10 + REJECT_AFTER_TIME)
    assert not is_fresh(device, public_key(2), EPOCH + 10)
    assert not is_fresh(None, public_key(1), EPOCH + 10)


def test_a_flow_is_known_from_the_first_look_at_a_new_session_on() -> None:
    tunnel = Tunnel()
    tunnel.observe(seen(0, 0, 296), at(1))
    tunnel.observe(seen(1.01, 92, 150_000), at(1.02))
    assert tunnel.sends_much
    adopted = Tunnel()
    adopted.observe(seen(1, 10**6, 10**6), at(100))
    assert not adopted.is_busy

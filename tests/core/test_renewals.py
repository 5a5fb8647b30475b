"""When a session is given up for another. How paths use it is in test_paths, what comes of it in test_members."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.renewals import CALM, FOLLOW, PROOF, SETTLE, Renewals
from wireguard_mesh.core.tunnels import KEEPALIVE_TIMEOUT, REKEY_TIMEOUT, Tunnel
from wireguard_mesh.model.devices import ObservedPeer
from wireguard_mesh.model.relays import RelayId

EPOCH = 1_000_000.0
A, B = RelayId("a"), RelayId("b")


def at(seconds: float) -> Instant:
    return Instant(seconds, EPOCH + seconds)


def tunnel(handshake: float = 1.0) -> Tunnel:
    one = Tunnel()
    look(one, handshake, handshake)
    return one


def look(one: Tunnel, seconds: float, handshake: float, received: int = 100, sent: int = 100) -> None:
    one.observe(
        ObservedPeer(
            public_key=public_key(1),
            latest_handshake=EPOCH + handshake,
            received_bytes=received,
            sent_bytes=sent,
        ),
        at(seconds),
    )


def renewals(one: Tunnel, *, is_elected: bool = True) -> Renewals:
    """Its session was made by A."""
    found = Renewals(is_elected=is_elected)
    found.seen(A, one)
    return found


def test_nothing_is_due_before_a_path_was_left() -> None:
    one = tunnel()
    found = renewals(one)
    found.consider(one, at(1000))
    assert not found.is_due


def test_the_relay_by_which_the_session_was_made_knows_it_wherever_it_went_since() -> None:
    one = tunnel()
    found = renewals(one)
    found.seen(B, one)
    assert found.knows(A)
    assert not found.knows(B)
    found.left(A, at(5), is_proven=True)
    found.consider(one, at(100))
    assert not found.is_due
    look(one, 101, 101)
    found.seen(B, one)
    assert found.knows(B)


def test_times_in_a_row_are_ever_farther_apart_until_it_was_calm() -> None:
    one = tunnel()
    found = renewals(one)
    now, times = 10.0, []
    for _ in range(4):
        found.left(B, at(now), is_proven=True)
        now = max(now, found.due_at(one))
        found.consider(one, at(now))
        assert found.is_due
        found.stop()
        times.append(now)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses == pytest.approx([REKEY_TIMEOUT, 2 * REKEY_TIMEOUT, 4 * REKEY_TIMEOUT])
    found.left(B, at(now + CALM), is_proven=True)
    found.consider(one, at(now + CALM + SETTLE))
    found.left(B, at(now + CALM + 1), is_proven=True)
    assert found.due_at(one) == pytest.approx(now + CALM + SETTLE + REKEY_TIMEOUT)


@given(st.floats(0, 60), st.floats(0, KEEPALIVE_TIMEOUT), st.booleans())
def test_a_tunnel_that_answers_in_wireguards_time_is_never_given_up(
    asked_after: float, answer_after: float, is_elected: bool
) -> None:
    """Data from second 10 on; the path is changed some time later, without proof."""
    one = tunnel()
    found = renewals(one, is_elected=is_elected)
    look(one, 10, 1, sent=5000)
    changed = 10 + min(asked_after, answer_after)
    found.left(B, at(changed), is_proven=False)
    found.consider(one, at((changed + 10 + answer_after) / 2))
    look(one, 10 + answer_after + 0.5, 1, received=132, sent=9000)
    found.consider(one, at(10 + answer_after + 0.5))
    found.consider(one, at(1000))
    assert not found.is_due


def test_without_an_answer_it_is_given_up_once_that_is_proof() -> None:
    one = tunnel()
    look(one, 10, 1, sent=5000)
    for is_elected, later in ((True, 0.0), (False, FOLLOW - SETTLE)):
        found = renewals(one, is_elected=is_elected)
        found.left(B, at(15), is_proven=False)
        assert found.due_at(one) == 10 + PROOF + later
        found.consider(one, at(10 + PROOF + later))
        assert found.is_due

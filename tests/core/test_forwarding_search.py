"""The search for whom an initiation is for."""

from __future__ import annotations

import pytest

from tests.core.forwarding_samples import initiation
from tests.samples import public_key
from wireguard_mesh.core.forwarding_peers import Bucket, ForwardedPeer
from wireguard_mesh.core.forwarding_routes import RouteTable
from wireguard_mesh.core.forwarding_search import (
    MAX_FIRST,
    MAX_WAITING,
    MAX_WAITING_EACH,
    TURN_KEYS,
    WAIT_SECONDS,
    Search,
    Wanted,
)
from wireguard_mesh.core.instant import Instant

COUNT = 3 * TURN_KEYS


def peers(count: int = COUNT) -> list[ForwardedPeer]:
    return [ForwardedPeer(public_key(number), Bucket(1, 0), Bucket(1, 0)) for number in range(1, count + 1)]


@pytest.mark.parametrize("number", [1, TURN_KEYS, TURN_KEYS + 1, COUNT])
def test_everybody_is_found_in_slices(number: int) -> None:
    everybody = peers()
    search = Search(everybody)
    assert search.add(everybody[5], Wanted(everybody[5], initiation(number, 1), 0.0))
    steps = 0
    while not (found := search.step(1, 0.0)):
        steps += 1
    assert found[0].recipient is everybody[number - 1]
    assert found[0].sender is everybody[5]
    assert steps == (number - 1) // TURN_KEYS
    assert len(search) == 0


def test_nobody_is_found_after_all_were_tried() -> None:
    everybody = peers()
    search = Search(everybody)
    search.add(everybody[0], Wanted(everybody[0], initiation(COUNT + 1, 1), 0.0))
    assert search.step(COUNT - 1, 0.0)[0].recipient is None


def test_partners_are_tried_first_the_latest_before_others() -> None:
    everybody = peers()
    routes = RouteTable()
    for number in range(COUNT - 20, COUNT):
        routes.establish(everybody[0], everybody[number], number, number, Instant(0.0, 0.0))
    wanted = Wanted(everybody[0], initiation(COUNT, 1), 0.0)
    assert wanted.among([], 1) is everybody[COUNT - 1]
    wanted = Wanted(everybody[0], initiation(COUNT - 19, 1), 0.0)
    assert wanted.among([], 19) is None
    search = Search(everybody)
    search.add(everybody[0], wanted)
    assert search.step(1, 0.0)[0].recipient is everybody[COUNT - 20]


def test_they_take_turns() -> None:
    everybody = peers()
    search = Search(everybody)
    for _ in range(100):
        search.add(everybody[0], Wanted(everybody[0], initiation(COUNT, 1), 0.0))
    search.add(everybody[1], Wanted(everybody[1], initiation(COUNT, 2), 0.0))
    found = search.step(6 * TURN_KEYS, 0.0)
    assert {each.sender for each in found} == {everybody[0], everybody[1]}
    assert len(search) == 99


def test_who_waited_too_long_has_called_again() -> None:
    everybody = peers()
    search = Search(everybody)
    search.add(everybody[0], Wanted(everybody[0], initiation(3, 1), 0.0))
    search.add(everybody[0], Wanted(everybody[0], initiation(3, 2), 2.0))
    found = search.step(10_000, WAIT_SECONDS + 1)
    assert [each.datagram for each in found] == [initiation(3, 2)]


def test_who_is_gone_waits_no_more() -> None:
    everybody = peers()
    search = Search(everybody)
    search.add(everybody[0], Wanted(everybody[0], initiation(3, 1), 0.0))
    search.forget(everybody[0])
    search.forget(everybody[0])
    assert len(search) == 0
    assert search.step(1000, 0.0) == []


def test_there_is_room_for_so_many() -> None:
    everybody = peers(MAX_WAITING // MAX_WAITING_EACH + 1)
    search = Search(everybody)
    taken = [
        sum(search.add(peer, Wanted(peer, initiation(1, 1), 0.0)) for _ in range(MAX_WAITING_EACH + 1))
        for peer in everybody
    ]
    assert taken == [MAX_WAITING_EACH] * (len(everybody) - 1) + [1], "one of each, even if others took all the room"
    found = search.step(len(everybody) * TURN_KEYS, 0.0)
    assert everybody[-1] in {each.sender for each in found}


def test_what_waits_is_no_larger_for_who_has_many_partners() -> None:
    everybody = peers(MAX_FIRST + 50)
    routes = RouteTable()
    for number, partner in enumerate(everybody[1:]):
        routes.establish(everybody[0], partner, number, number, Instant(0.0, 0.0))
    wanted = Wanted(everybody[0], initiation(2, 1), 0.0)
    assert len(wanted.first) == MAX_FIRST
    assert wanted.first[0] is everybody[-1]
    assert wanted.among(everybody, MAX_FIRST) is None
    assert wanted.among(everybody, len(everybody)) is everybody[1]

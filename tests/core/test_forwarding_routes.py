"""The table of routes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.core.forwarding_samples import at
from tests.samples import public_key
from wireguard_mesh.core.forwarding_peers import Bucket, ForwardedPeer
from wireguard_mesh.core.forwarding_routes import (
    MAX_ROUTES_OF_PAIR,
    PAIR_SECONDS,
    REJECT_AFTER_TIME,
    RESPONSE_TIME,
    RouteTable,
    SavedRoute,
    head_of,
)


def peer(number: int) -> ForwardedPeer:
    return ForwardedPeer(public_key(number), Bucket(1, 0), Bucket(1, 0))


def test_the_head_is_what_stands_at_the_start() -> None:
    assert head_of(0x04030201).to_bytes(8, "little") == b"\x04\0\0\0\1\2\3\4"


def test_what_has_ended_leaves_nothing() -> None:
    routes, a, b = RouteTable(), peer(1), peer(2)
    assert routes.expect(b, 5, a, 0.0)
    routes.expire(RESPONSE_TIME - 1)
    assert b.replies
    routes.expire(RESPONSE_TIME)
    assert not b.replies
    assert routes.establish(a, b, 5, 6, at(0))
    routes.expire(REJECT_AFTER_TIME - 1)
    assert len(routes) == 2
    routes.expire(REJECT_AFTER_TIME)
    assert (len(routes), a.transport, b.transport) == (0, {}, {})


def test_what_was_renewed_outlives_what_it_was() -> None:
    routes, a, b = RouteTable(), peer(1), peer(2)
    routes.expect(b, 5, a, 0.0)
    routes.expect(b, 5, a, 5.0)
    routes.establish(a, b, 5, 6, at(0))
    routes.establish(a, b, 5, 6, at(100))
    routes.expire(RESPONSE_TIME)
    assert b.replies
    routes.expire(REJECT_AFTER_TIME)
    assert a.transport
    assert b.transport
    assert [saved.created for saved in routes.saved(at(180))] == [1100, 1100]
    assert len(routes.busiest(100)) == 2, "a pair stays a pair"


def test_half_open_ones_are_bounded() -> None:
    routes, a, b = RouteTable(max_routes=3), peer(1), peer(2)
    for index in range(10):
        assert routes.expect(b, index, a, 0.0)
    assert set(b.replies) == {7, 8, 9}


def test_a_pair_that_is_silent_for_long_is_no_pair() -> None:
    routes, a, b, c = RouteTable(), peer(1), peer(2), peer(3)
    routes.establish(a, b, 1, 2, at(0))
    routes.establish(a, c, 3, 4, at(10))
    a.partners[b].packets = 5
    routes.expire(PAIR_SECONDS)
    assert list(a.partners) == [b, c], "though it has no route any more"
    routes.expire(PAIR_SECONDS + 1)
    assert (list(a.partners), b.partners) == ([c], {})
    assert {(each.source, each.destination) for each in routes.busiest(10)} == {(a.key, c.key), (c.key, a.key)}
    assert a.retired_packets == 5


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5))), min_size=1), st.integers(1, 12))
def test_the_busiest_pairs_are_those_that_sent_most(rounds: list[list[tuple[int, int]]], count: int) -> None:
    routes, a = RouteTable(), peer(1)
    partners = [peer(number) for number in range(2, 7)]
    for number, partner in enumerate(partners):
        routes.establish(a, partner, number, number, at(0))
    pairs = [pair for partner in partners for pair in (a.partners[partner], partner.partners[a])]
    for sent in rounds:
        for number, size in sent:
            pairs[number].bytes += size
        wanted = sorted((pair.bytes for pair in pairs), reverse=True)[:count]
        assert [each.bytes for each in routes.busiest(count)] == wanted
    routes.forget(a)
    assert routes.busiest(count) == []


def test_pairs_are_bounded() -> None:
    routes, a = RouteTable(max_routes=4), peer(1)
    for number in range(2, 12):
        routes.establish(a, peer(number), number, number, at(0))
    assert len(a.partners) == 2
    assert len(routes.busiest(100)) == 4


def test_two_who_shake_hands_without_end_take_nobody_elses_routes() -> None:
    routes, a, b, c, d = RouteTable(max_routes=100), peer(1), peer(2), peer(3), peer(4)
    routes.establish(a, b, 1, 2, at(0))
    for index in range(1000):
        routes.establish(c, d, index, index, at(1))
    assert (set(a.transport), set(b.transport)) == ({head_of(2)}, {head_of(1)})
    latest = {head_of(index) for index in range(1000 - MAX_ROUTES_OF_PAIR, 1000)}
    assert (set(c.transport), set(d.transport)) == (latest, latest)
    assert len(routes) == 2 + 2 * MAX_ROUTES_OF_PAIR


def test_the_oldest_of_all_give_way() -> None:
    routes, a = RouteTable(max_routes=4), peer(1)
    for number in range(2, 6):
        routes.establish(a, peer(number), number, number, at(0))
    assert set(a.transport) == {head_of(4), head_of(5)}
    assert len(routes) == 4


def test_a_pair_of_which_one_direction_was_forgotten_is_forgotten_whole() -> None:
    routes, a, b, c = RouteTable(max_routes=3), peer(1), peer(2), peer(3)
    routes.establish(a, b, 1, 2, at(0))
    routes.establish(a, c, 3, 4, at(0))
    routes.forget(b)
    routes.forget(c)
    assert (a.partners, b.partners, c.partners) == ({}, {}, {})


def test_a_restored_route_takes_no_index_in_use() -> None:
    routes, a, b, c = RouteTable(), peer(1), peer(2), peer(3)
    routes.restore(a, b, SavedRoute(a.key, b.key, 5, 1000), at(0))
    routes.restore(a, c, SavedRoute(a.key, c.key, 5, 1000), at(0))
    assert [route.destination for route in routes.saved(at(0))] == [b.key]

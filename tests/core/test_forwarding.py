"""Forwarding: what goes where, and what goes nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.forwarding_samples import Pairs, at, cookie_reply, initiation, response, source, transport
from tests.samples import public_key
from wireguard_mesh.core.forwarding import Forwarder, ForwardingLimits, spans
from wireguard_mesh.core.forwarding_peers import Drop, Traffic
from wireguard_mesh.core.forwarding_routes import SavedRoute


def test_a_handshake_makes_a_route_each_way() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    assert pairs.one(1, transport(0xB)) == source(2)
    assert pairs.one(2, transport(0xA)) == source(1)
    assert pairs.forwarder.routes == 2


def test_a_route_is_its_sources_alone() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    assert pairs.one(3, transport(0xB)) is None
    assert pairs.one(2, transport(0xB)) is None
    assert pairs.forwarder.dropped == {Drop.NO_ROUTE: 2}


def test_a_keepalive_goes_the_same_way() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    keepalive = transport(0xB, 32)
    assert pairs.forwarder.forward(source(1), keepalive, 0, 32, 32, 0.0) == ([], [(0, 32)])
    assert pairs.one(1, keepalive) == source(2)


def test_nothing_from_or_to_a_stranger() -> None:
    pairs = Pairs()
    assert pairs.one(77, initiation(1, 5)) is None
    assert pairs.one(1, initiation(77, 5)) is None
    assert pairs.forwarder.dropped == {Drop.STRANGER: 1, Drop.NOBODY: 1}


@pytest.mark.parametrize("datagram", [b"", b"\4", bytes(32), b"\1\0\0\0" + bytes(143), b"\x05\0\0\0" + bytes(60)])
def test_what_is_no_message_goes_nowhere(datagram: bytes) -> None:
    pairs = Pairs()
    assert pairs.forwarder.forward_one(source(1), datagram, at(0)) is None
    assert pairs.forwarder.dropped == {Drop.MALFORMED: 1}


def test_a_peer_that_moved_is_reached_where_it_is() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    pairs.forwarder.locate(public_key(2), source(22))
    assert pairs.one(1, transport(0xB)) == source(22)
    assert pairs.one(2, transport(0xA)) is None, "where it was may be anybody now"
    assert pairs.one(22, transport(0xA)) == source(1)


def test_a_source_is_the_peers_that_proved_it_last() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    pairs.forwarder.locate(public_key(3), source(2))
    assert pairs.one(1, transport(0xB)) is None
    assert pairs.one(2, transport(0xA)) is None
    assert pairs.forwarder.dropped == {Drop.NOT_HERE: 1, Drop.NO_ROUTE: 1}


def test_a_peer_that_is_not_heard_gets_nothing() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    pairs.forwarder.locate(public_key(2), None)
    assert pairs.one(1, transport(0xB)) is None
    assert pairs.one(1, initiation(2, 0xC)) is None
    assert pairs.one(1, cookie_reply(0xB)) is None
    assert pairs.forwarder.dropped == {Drop.NOT_HERE: 3}


def test_a_source_that_is_left_is_nobodys() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    assert pairs.forwarder.is_at(source(2))
    pairs.forwarder.vacate(source(2))
    pairs.forwarder.vacate(source(2))
    assert not pairs.forwarder.is_at(source(2))
    assert pairs.one(1, transport(0xB)) is None


def test_one_who_is_not_registered_is_nowhere() -> None:
    pairs = Pairs()
    pairs.forwarder.locate(public_key(77), source(77))
    assert pairs.one(77, initiation(1, 5)) is None


def test_one_who_left_is_gone_and_comes_back_without_routes() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    assert pairs.waiting(2, initiation(3, 0xD)) is None
    pairs.forwarder.dismiss(public_key(2))
    pairs.forwarder.dismiss(public_key(2))
    assert not pairs.forwarder.is_searching
    assert pairs.one(1, transport(0xB)) is None
    assert pairs.one(2, transport(0xA)) is None
    pairs.forwarder.admit(public_key(2))
    pairs.forwarder.locate(public_key(2), source(2))
    assert pairs.one(1, transport(0xB)) is None
    assert pairs.one(2, transport(0xA)) is None
    pairs.shake(1, 2, 0x1A, 0x1B)
    assert pairs.one(1, transport(0x1B)) == source(2)


@pytest.mark.parametrize("leaving", [1, 2, 3, 5])
def test_whoever_leaves_the_others_are_found(leaving: int) -> None:
    pairs = Pairs(5)
    pairs.forwarder.dismiss(public_key(leaving))
    staying = [number for number in range(1, 4) if number != leaving]
    for number in staying:
        assert pairs.one(4, initiation(number, number)) == source(number)


def test_to_be_admitted_again_changes_nothing() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    pairs.forwarder.admit(public_key(2))
    assert pairs.one(1, transport(0xB)) == source(2)


def test_a_pair_that_may_not_know_each_other_is_kept_apart() -> None:
    pairs = Pairs()
    pairs.forbid(1, 2)
    assert pairs.one(1, initiation(2, 5)) is None
    assert pairs.one(1, initiation(3, 6)) == source(3)
    assert pairs.forwarder.dropped == {Drop.FORBIDDEN: 1}


def test_a_permission_that_is_withdrawn_ends_what_goes_on() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    pairs.shake(1, 3, 0x1A, 0x1B)
    assert pairs.one(1, initiation(2, 0xC)) == source(2)
    pairs.forbid(1, 2)
    assert pairs.one(1, transport(0xB)) is None
    assert pairs.one(2, transport(0xA)) is None
    assert pairs.one(2, response(0xD, 0xC)) is None
    assert pairs.one(2, cookie_reply(0xC)) is None
    assert pairs.one(1, transport(0x1B)) == source(3)


def test_a_peer_does_not_call_itself() -> None:
    pairs = Pairs()
    assert pairs.one(1, initiation(1, 5)) is None
    assert pairs.forwarder.dropped == {Drop.FORBIDDEN: 1}


class TestPieces:
    """Several packets of one sender at once."""

    def test_one_way_leaves_as_one_piece(self) -> None:
        pairs = Pairs()
        pairs.shake(1, 2, 0xA, 0xB)
        piece = transport(0xB, 100) * 5 + transport(0xB, 64)
        assert pairs.forwarder.forward(source(1), b"??" + piece, 2, 566, 100, 0.0) == ([(source(2), 2, 566, 100)], [])
        assert pairs.forwarder.busiest(1)[0] == Traffic(public_key(1), public_key(2), 6, 564)
        assert pairs.forwarder.sent_by(public_key(1)) == (6, 564)
        assert pairs.forwarder.totals() == (6, 564)

    def test_several_ways_are_told_apart(self) -> None:
        pairs = Pairs()
        pairs.shake(1, 2, 0xA, 0xB)
        pairs.shake(1, 3, 0x1A, 0x1B)
        piece = transport(0xB, 100) * 2 + transport(0x99, 100) + transport(0x1B, 100) + transport(0xB, 50)
        runs, rest = pairs.forwarder.forward(source(1), piece, 0, len(piece), 100, 0.0)
        assert runs == [(source(2), 0, 200, 100), (source(3), 300, 400, 100), (source(2), 400, 450, 100)]
        assert rest == [(200, 300)]

    def test_a_keepalive_at_the_end_is_looked_at_by_itself(self) -> None:
        pairs = Pairs()
        pairs.shake(1, 2, 0xA, 0xB)
        piece = transport(0xB, 100) * 2 + transport(0xB, 32)
        runs, rest = pairs.forwarder.forward(source(1), piece, 0, len(piece), 100, 0.0)
        assert (runs, rest) == ([(source(2), 0, 200, 100)], [(200, 232)])

    def test_keepalives_are_looked_at_one_by_one(self) -> None:
        pairs = Pairs()
        piece = transport(0xB, 32) * 3
        assert pairs.forwarder.forward(source(1), piece, 0, 96, 32, 0.0) == ([], [(0, 32), (32, 64), (64, 96)])

    def test_of_a_stranger_all_are_looked_at_one_by_one(self) -> None:
        pairs = Pairs()
        assert pairs.forwarder.forward(source(77), bytes(250), 0, 250, 100, 0.0) == (
            [],
            [(0, 100), (100, 200), (200, 250)],
        )

    @given(st.lists(st.sampled_from([0xB, 0x1B, 0x99]), min_size=1, max_size=40), st.integers(33, 300), st.data())
    def test_a_piece_goes_where_its_packets_would(self, ways: list[int], size: int, data: st.DataObject) -> None:
        pairs = Pairs()
        pairs.shake(1, 2, 0xA, 0xB)
        pairs.shake(1, 3, 0x1A, 0x1B)
        last = data.draw(st.integers(17, size))
        piece = b"".join(transport(way, size) for way in ways[:-1]) + transport(ways[-1], last)
        runs, rest = pairs.forwarder.forward(source(1), piece, 0, len(piece), size, 0.0)
        got = {span: destination for destination, start, end, each in runs for span in spans(start, end, each)}
        assert set(got) | set(rest) == set(spans(0, len(piece), size))
        assert not set(got) & set(rest)
        for (start, end), destination in got.items():
            assert pairs.one(1, piece[start:end]) == destination
        for start, end in rest:
            assert end - start <= 32 or pairs.one(1, piece[start:end]) is None


class TestLimits:
    """What one peer may take."""

    def test_bytes_a_second(self) -> None:
        pairs = Pairs(limits=ForwardingLimits(bytes_per_second=100, burst_bytes=250))
        pairs.shake(1, 2, 0xA, 0xB)
        assert [pairs.one(1, transport(0xB, 100)) for _ in range(4)] == [source(2), source(2), None, None]
        assert pairs.one(2, transport(0xA, 100)) == source(1), "another's are its own"
        assert pairs.one(1, transport(0xB, 100), now=1.0) == source(2)
        assert pairs.forwarder.dropped == {Drop.TOO_FAST: 2}
        assert pairs.forwarder.sent_by(public_key(1)) == (3, 300)

    def test_routes_the_oldest_give_way(self) -> None:
        pairs = Pairs(3, ForwardingLimits(max_routes=4))
        pairs.shake(1, 2, 0xA, 0xB)
        assert pairs.one(1, transport(0xB, 100)) == source(2)
        pairs.shake(1, 3, 0x1A, 0x1B)
        pairs.shake(2, 3, 0x2A, 0x2B)
        assert pairs.forwarder.routes == 4
        assert pairs.one(1, transport(0xB)) is None
        assert pairs.one(1, transport(0x1B)) == source(3)
        assert pairs.forwarder.totals() == (2, 228), "what is forgotten counts"
        assert pairs.forwarder.sent_by(public_key(1)) == (2, 228)


class TestRestoring:
    """Going on where another process was."""

    def test_routes_go_on(self) -> None:
        before, after = Pairs(), Pairs()
        before.shake(1, 2, 0xA, 0xB, now=0.0)
        assert before.forwarder.unsaved() == before.forwarder.saved(at(10))
        assert before.forwarder.unsaved() == []
        after.forwarder.restore(before.forwarder.saved(at(10)), at(20))
        assert after.one(1, transport(0xB), 20.0) == source(2)
        assert after.one(2, transport(0xA), 179.0) == source(1)
        assert after.one(2, transport(0xA), 180.0) is None, "a route lives no longer than its session"
        assert after.forwarder.saved(at(30)) == before.forwarder.saved(at(30))

    @pytest.mark.parametrize(
        "saved",
        [
            SavedRoute(public_key(1), public_key(2), 5, 1000 - 180),
            SavedRoute(public_key(1), public_key(77), 5, 1000),
            SavedRoute(public_key(77), public_key(1), 5, 1000),
            SavedRoute(public_key(1), public_key(1), 5, 1000),
            SavedRoute(public_key(1), public_key(3), 5, 1000),
        ],
    )
    def test_what_may_not_be_is_left_out(self, saved: SavedRoute) -> None:
        pairs = Pairs()
        pairs.forbid(1, 3)
        pairs.forwarder.restore([saved], at(0))
        assert pairs.forwarder.routes == 0

    def test_a_clock_that_was_set_back_lengthens_nothing(self) -> None:
        pairs = Pairs()
        pairs.forwarder.restore([SavedRoute(public_key(1), public_key(2), 5, 99_999)], at(0))
        assert pairs.one(1, transport(5), 179.9) == source(2)
        assert pairs.one(1, transport(5), 180.0) is None


def test_what_has_ended_is_forgotten() -> None:
    pairs = Pairs()
    pairs.shake(1, 2, 0xA, 0xB)
    pairs.forwarder.expire(179.0)
    assert pairs.forwarder.routes == 2
    pairs.forwarder.expire(180.0)
    assert pairs.forwarder.routes == 0


def test_two_forwarders_share_nothing() -> None:
    first, second = Pairs(), Forwarder(lambda _a, _b: True)
    first.shake(1, 2, 0xA, 0xB)
    assert second.routes == 0
    assert second.totals() == (0, 0)

"""A relay whole, with WireGuard peers in memory."""

from __future__ import annotations

from tests.core.forwarding_samples import initiation, response, transport
from tests.core.wireguard_peer import RANDOM, VANTAGES, MemoryPeer, address, at
from wireguard_mesh.core.forwarding import Run
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.relay_core import RelayCore
from wireguard_mesh.core.rendezvous import Observation, Rendezvous
from wireguard_mesh.core.sources import Source, WebSource
from wireguard_mesh.model.keys import PublicKey


class Relay:
    """A relay core, and peers 1 and 2 that have met it."""

    def __init__(self, *peers: MemoryPeer) -> None:
        self.core = RelayCore(Rendezvous(VANTAGES), self.permits, RANDOM)
        self.peers = peers
        self.core.roster([peer.key for peer in peers], [], whole=True)
        for peer in peers:
            self.join(peer, at(0))

    def permits(self, one: PublicKey, other: PublicKey) -> bool:
        return one != other

    def receive(self, source: Source, datagram: bytes, now: Instant, vantage: int = 0) -> list[Run]:
        return self.core.receive(vantage, source, datagram, 0, len(datagram), max(1, len(datagram)), now)

    def join(self, peer: MemoryPeer, now: Instant) -> None:
        assert self.receive(peer.source, peer.initiation(now), now, peer.vantage) == []
        ((source, answer),) = self.core.answers()
        assert source == peer.source
        peer.finish(answer)
        assert self.receive(peer.source, peer.keepalive(), now, peer.vantage) == []
        assert self.core.answers() == []

    def shake(self, one: MemoryPeer, two: MemoryPeer, a: int, b: int, now: Instant) -> None:
        """A handshake of two peers; their samples' keys are others, so mac1 is made by hand."""
        assert self.receive(one.source, initiation(two.key, a), now) == []
        ((destination, _),) = self.core.forwarder.search(10_000, now.monotonic)
        assert destination == two.source
        assert self.receive(two.source, response(b, a), now) == [(one.source, 0, 92, 92)]


def make() -> tuple[Relay, MemoryPeer, MemoryPeer]:
    one, two = MemoryPeer(1), MemoryPeer(2)
    return Relay(one, two), one, two


def test_two_peers_that_met_the_relay_meet_each_other() -> None:
    relay, one, two = make()
    assert (relay.core.registered, relay.core.present, relay.core.answered) == (2, 2, 2)
    assert relay.core.observations() == [Observation(one.key, 0, one.source), Observation(two.key, 0, two.source)]
    assert relay.core.observations() == []
    relay.shake(one, two, 0xA, 0xB, at(1))
    assert relay.receive(one.source, transport(0xB), at(2)) == [(two.source, 0, 128, 128)]
    assert relay.receive(two.source, transport(0xA, 32), at(2)) == [(one.source, 0, 32, 32)]


def test_who_moves_is_followed_by_a_keepalive() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    two.source = address(50)
    assert relay.receive(two.source, two.keepalive(), at(40)) == []
    assert relay.core.is_at(address(50))
    assert relay.receive(one.source, transport(0xB), at(40)) == [(address(50), 0, 128, 128)]


def test_one_piece_may_hold_what_is_ours_and_what_is_not() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    piece = transport(0xB, 100) * 2 + one.keepalive()
    assert relay.core.receive(0, one.source, piece, 0, len(piece), 100, at(2)) == [(two.source, 0, 200, 100)]
    assert relay.core.rendezvous.counts.keepalives == 3


def test_the_second_vantage_point_forwards_nothing() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    assert relay.receive(one.source, transport(0xB), at(2), vantage=1) == []
    other = MemoryPeer(1, vantage=1)
    other.source = address(77)
    relay.join(other, at(3))
    assert relay.core.observations()[-1] == Observation(one.key, 1, address(77))
    assert relay.receive(one.source, transport(0xB), at(4)) == [(two.source, 0, 128, 128)], "it moved nobody"


def test_strangers_get_nothing() -> None:
    relay, _, two = make()
    stranger = MemoryPeer(9)
    for datagram in (stranger.initiation(at(1)), initiation(two.key, 5), transport(0xB), b"", b"\xff" * 500):
        assert relay.receive(stranger.source, datagram, at(1)) == []
    assert relay.core.answers() == []


def test_who_is_no_longer_registered_is_gone() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    relay.core.roster([], [two.key, MemoryPeer(9).key], whole=False)
    assert relay.receive(one.source, transport(0xB), at(2)) == []
    assert relay.receive(two.source, transport(0xA), at(2)) == []
    assert (relay.core.registered, relay.core.present) == (1, 1)
    relay.core.roster([two.key], [], whole=True)
    assert relay.receive(one.source, transport(0xB), at(3)) == []
    assert not relay.core.is_at(one.source)


def test_a_whole_roster_disturbs_nobody_who_stays() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    relay.core.roster([one.key, two.key, MemoryPeer(3).key], [], whole=True)
    assert relay.receive(one.source, transport(0xB), at(2)) == [(two.source, 0, 128, 128)]


def test_who_is_silent_is_forgotten() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    relay.core.observations()
    relay.core.expire(at(190))
    assert relay.core.present == 0
    assert relay.core.forwarder.routes == 0
    assert {(seen.public_key, seen.source) for seen in relay.core.observations()} == {(one.key, None), (two.key, None)}


def test_a_websocket_is_one_more_source() -> None:
    one, two = MemoryPeer(1), MemoryPeer(2)
    two.source = WebSource(1, two.key)
    relay = Relay(one, two)
    relay.shake(one, two, 0xA, 0xB, at(1))
    assert relay.receive(one.source, transport(0xB), at(2)) == [(two.source, 0, 128, 128)]
    assert (
        relay.core.forwarder.find_route(one.source, int.from_bytes(transport(0xB)[:8], "little"), 1, 128, 2.0) is None
    )
    relay.core.closed(two.source)
    relay.core.closed(two.source)
    assert relay.receive(one.source, transport(0xB), at(2)) == []


def test_a_websocket_is_for_the_one_who_opened_it() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    where, two.source = two.source, WebSource(1, one.key)
    assert relay.receive(two.source, two.keepalive(), at(30)) == []
    assert relay.receive(two.source, two.initiation(at(30)), at(30)) == []
    assert relay.core.answers() == []
    assert not relay.core.is_at(two.source)
    assert relay.receive(one.source, transport(0xB), at(31)) == [(where, 0, 128, 128)]


def test_another_process_goes_on_where_this_one_was() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    after = RelayCore(Rendezvous(VANTAGES), relay.permits, RANDOM)
    after.roster([one.key, two.key], [], whole=True)
    after.restore(relay.core.rendezvous.sessions(), relay.core.forwarder.saved(at(5)), at(5))
    assert after.present == 2
    assert after.receive(0, one.source, transport(0xB), 0, 128, 128, at(6)) == [(two.source, 0, 128, 128)]
    assert after.receive(0, two.source, transport(0xA), 0, 128, 128, at(6)) == [(one.source, 0, 128, 128)]


def test_packets_that_go_the_same_way_are_routed_once() -> None:
    relay, one, two = make()
    relay.shake(one, two, 0xA, 0xB, at(1))
    head = int.from_bytes(transport(0xB)[:8], "little")
    find = relay.core.forwarder.find_route
    assert find(one.source, head, 3, 300, 2.0) == two.source
    assert relay.core.forwarder.totals() == (3, 300)
    assert find(one.source, head + 1, 3, 300, 2.0) is None
    assert find(address(99), head, 3, 300, 2.0) is None
    assert find(one.source, head, 3, 300, 182.0) is None
    relay.core.forwarder.locate(two.key, None)
    assert find(one.source, head, 3, 300, 2.0) is None
    assert relay.core.forwarder.totals() == (3, 300)


def test_who_calls_before_the_relay_knows_it_is_not_left_waiting() -> None:
    relay, _, two = make()
    three = MemoryPeer(3)
    relay.core.roster([three.key], [], whole=False)
    assert relay.core.released(at(1)) == []
    assert relay.receive(three.source, initiation(two.key, 5), at(1)) == []
    relay.join(three, at(1.5))
    assert relay.core.released(at(1.5)) == []
    assert relay.core.forwarder.search(10_000, 1.5) == [(two.source, initiation(two.key, 5))]


def test_who_is_called_before_it_has_come_hears_of_it() -> None:
    relay, one, two = make()
    three = MemoryPeer(3)
    relay.core.roster([three.key], [], whole=False)
    for caller, index in ((one, 5), (two, 6)):
        assert relay.receive(caller.source, initiation(three.key, index), at(1)) == []
        assert relay.core.forwarder.search(10_000, 1.0) == []
    relay.core.roster([], [two.key], whole=False)
    relay.join(three, at(2))
    assert relay.core.released(at(2)) == [(three.source, initiation(three.key, 5))]
    assert relay.receive(three.source, response(7, 5), at(2)) == [(one.source, 0, 92, 92)]


def test_what_is_too_early_by_far_is_forgotten() -> None:
    relay, one, _ = make()
    three = MemoryPeer(3)
    relay.core.roster([three.key], [], whole=False)
    assert relay.receive(one.source, initiation(three.key, 5), at(1)) == []
    relay.core.forwarder.search(10_000, 1.0)
    relay.join(three, at(5))
    relay.core.forwarder.locate(three.key, None)
    assert relay.core.released(at(5)) == []
    relay.core.forwarder.locate(three.key, three.source)
    assert relay.core.released(at(5)) == []

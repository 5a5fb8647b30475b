"""The rendezvous, with WireGuard peers in memory."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import public_key
from tests.core.wireguard_peer import RANDOM, VANTAGE_KEYS, VANTAGES, WALL, MemoryPeer, address, at
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.rendezvous import (
    HANDSHAKE_GAP,
    PONG_BURST,
    PONG_GAP,
    TAKEN,
    Observation,
    Rendezvous,
    SavedSession,
)
from wireguard_mesh.core.rendezvous_gate import GateLimits
from wireguard_mesh.core.rendezvous_table import REJECT_AFTER_TIME, TAKEN_SECONDS
from wireguard_mesh.core.sources import WebSource
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.protocol import cookies, pings
from wireguard_mesh.protocol.pings import Pong
from wireguard_mesh.protocol.wireguard import COOKIE_REPLY_SIZE, INITIATION_SIZE, Initiation

PEERS = (1, 2, 3)


def rendezvous(limits: GateLimits | None = None) -> Rendezvous:
    made = Rendezvous(VANTAGES, limits)
    for number in PEERS:
        made.admit(public_key(number))
    return made


def test_a_peer_is_where_its_keepalive_came_from() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.call(ours, at(0))
    assert ours.source_of(peer.key) is None, "a handshake alone may be a replay"
    assert ours.peer_at(peer.source) is None
    assert peer.say(ours, at(0.1)) == TAKEN
    assert ours.source_of(peer.key) == peer.source
    assert ours.peer_at(peer.source) == peer.key
    assert ours.observations() == [Observation(peer.key, 0, peer.source)]
    assert ours.observations() == []
    assert (ours.counts.handshakes, ours.counts.keepalives) == (1, 1)


def test_the_second_vantage_point_observes_and_does_not_forward() -> None:
    ours, peer = rendezvous(), MemoryPeer(1, vantage=1)
    peer.join(ours, at(0))
    assert ours.observations() == [Observation(peer.key, 1, peer.source)]
    assert ours.source_of(peer.key) is None
    assert ours.peer_at(peer.source) is None
    peer.source = address(50)
    assert peer.say(ours, at(25)) == TAKEN
    assert ours.observations() == [Observation(peer.key, 1, address(50))]


def test_a_key_that_is_not_registered_gets_nothing() -> None:
    ours, stranger = rendezvous(), MemoryPeer(9)
    assert ours.receive(0, stranger.source, stranger.initiation(at(0)), at(0), RANDOM) == TAKEN
    assert ours.counts.refused == 1
    assert ours.source_of(stranger.key) is None


def test_an_initiation_for_somebody_else_may_be_forwarded() -> None:
    ours, peer = rendezvous(), MemoryPeer(1, vantage=1)
    assert ours.receive(0, peer.source, peer.initiation(at(0)), at(0), RANDOM) is None


def test_an_initiation_that_claims_another_key_gets_nothing() -> None:
    """mac1 is right, the key is registered, and the sender does not hold it."""
    ours, peer = rendezvous(), MemoryPeer(1)
    parts = Initiation.parse(peer.initiation(at(0)))
    forged = msgspec.structs.replace(parts, encrypted_timestamp=bytes(28)).build()
    assert ours.receive(0, peer.source, _with_mac1(forged), at(0), RANDOM) == TAKEN
    low_order = msgspec.structs.replace(parts, ephemeral=bytes(32)).build()
    assert ours.receive(0, peer.source, _with_mac1(low_order), at(0), RANDOM) == TAKEN
    assert ours.counts.refused == 2


def _with_mac1(datagram: bytes) -> bytes:
    return cookies.with_macs(cookies.mac1_key(VANTAGE_KEYS[0]), datagram)


def test_a_replayed_initiation_gets_nothing() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    old, new = peer.initiation(at(0)), peer.initiation(at(1))
    assert ours.receive(0, peer.source, new, at(1), RANDOM)
    for datagram in (old, new):
        assert ours.receive(0, address(66), datagram, at(2), RANDOM) == TAKEN
    assert ours.counts.refused == 2


def test_one_peer_cannot_keep_the_rendezvous_busy() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.call(ours, at(0))
    soon = HANDSHAKE_GAP / 2
    assert ours.receive(0, peer.source, peer.initiation(at(soon)), at(soon), RANDOM) == TAKEN
    later = HANDSHAKE_GAP * 2
    assert ours.receive(0, peer.source, peer.initiation(at(later)), at(later), RANDOM)


def test_under_load_a_cookie_is_asked_for_and_taken() -> None:
    ours = rendezvous(GateLimits(calm=1, calm_burst=1))
    first, second = MemoryPeer(1), MemoryPeer(2)
    first.join(ours, at(0))
    reply = ours.receive(0, second.source, second.initiation(at(0)), at(0), RANDOM)
    assert reply is not None
    assert len(reply) == COOKIE_REPLY_SIZE
    assert second.initiator is not None
    cookie = second.initiator.open_cookie(reply)
    answer = ours.receive(0, second.source, second.initiation(at(0.1), cookie), at(0.1), RANDOM)
    assert answer
    second.finish(answer)
    assert second.say(ours, at(0.1)) == TAKEN
    assert ours.peer_at(second.source) == second.key
    assert ours.counts.cookie_replies == 1


def test_a_peer_that_is_here_needs_no_cookie_under_load() -> None:
    ours = rendezvous(GateLimits(calm=0.1, calm_burst=1))
    here, other = MemoryPeer(1), MemoryPeer(2)
    here.join(ours, at(0))
    for _ in range(2):
        ours.receive(0, other.source, other.initiation(at(0.1)), at(0.1), RANDOM)
    here.join(ours, at(0.5))
    assert ours.counts.handshakes == 2
    assert ours.counts.cookie_replies == 2


def test_peers_of_one_address_all_come_back_under_load() -> None:
    ours = rendezvous(GateLimits(calm=0.1, calm_burst=1, failed=0.1, failed_burst=1))
    for round_trip in range(5):
        for number in PEERS:
            peer, now = MemoryPeer(number), at(1 + round_trip + number / 10)
            peer.source = address(5, port=number)
            reply = ours.receive(0, peer.source, peer.initiation(now), now, RANDOM)
            assert reply
            if len(reply) != COOKIE_REPLY_SIZE:  # it is here already, or first
                continue
            assert peer.initiator is not None
            answer = ours.receive(0, peer.source, peer.initiation(now, peer.initiator.open_cookie(reply)), now, RANDOM)
            assert answer
    assert ours.counts.refused == 0
    assert ours.counts.handshakes == len(PEERS) * 5


def test_the_newest_handshake_counts_and_is_confirmed_first() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    before = MemoryPeer(1)
    before.index, before.keys, before.counter = peer.index, peer.keys, peer.counter
    peer.call(ours, at(120))
    lost = (peer.index, peer.keys)
    assert before.say(ours, at(121)) == TAKEN, "the session before lives until the new one is confirmed"
    peer.call(ours, at(125))
    assert peer.say(ours, at(125)) == TAKEN
    assert before.say(ours, at(126)) is None
    before.index, before.keys = lost
    assert before.say(ours, at(126)) is None
    assert ours.observations() == [Observation(peer.key, 0, peer.source)]


def test_a_newer_keepalive_from_elsewhere_moves_the_peer() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    here, there = peer.source, address(77)
    peer.source = there
    assert peer.say(ours, at(25)) == TAKEN
    assert ours.source_of(peer.key) == there
    assert ours.peer_at(here) is None
    assert ours.observations() == [Observation(peer.key, 0, there)]


def test_a_replayed_or_forged_keepalive_moves_nobody() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    older, newer = peer.keepalive(), peer.keepalive()
    assert ours.receive(0, peer.source, newer, at(1), RANDOM) == TAKEN
    for datagram in (older, newer, newer[:8] + b"\xff" * 8 + newer[16:], newer[:-1] + b"\0"):
        assert ours.receive(0, address(66), datagram, at(2), RANDOM) is None
    assert ours.receive(1, address(66), peer.keepalive(), at(2), RANDOM) is None, "a session is of one vantage point"
    assert ours.source_of(peer.key) == peer.source


def test_what_is_not_for_it_may_be_forwarded() -> None:
    ours = rendezvous()
    for datagram in (b"", b"\4\0\0\0" + bytes(28), b"\4\0\0\0" + bytes(100), b"\2\0\0\0" + bytes(88), b"\xff" * 60):
        assert ours.receive(0, address(1), datagram, at(0), RANDOM) is None


def test_a_session_ends_after_three_minutes() -> None:
    ours, peer, silent = rendezvous(), MemoryPeer(1), MemoryPeer(2)
    peer.join(ours, at(0))
    silent.call(ours, at(0))
    ours.observations()
    ours.expire(at(REJECT_AFTER_TIME))
    assert ours.source_of(peer.key) == peer.source
    late = at(REJECT_AFTER_TIME + 1)
    assert peer.say(ours, late) is None
    ours.expire(late)
    assert ours.source_of(peer.key) is None
    assert ours.peer_at(peer.source) is None
    assert ours.observations() == [Observation(peer.key, 0, None)]
    peer.join(ours, late)
    silent.join(ours, late)
    assert ours.peer_at(silent.source) == silent.key


def test_a_dismissed_key_is_forgotten_at_once() -> None:
    ours, peer, pending = rendezvous(), MemoryPeer(1), MemoryPeer(2)
    peer.join(ours, at(0))
    pending.call(ours, at(0))
    for key in (peer.key, pending.key, public_key(3), public_key(99)):
        ours.dismiss(key)
    assert ours.source_of(peer.key) is None
    assert ours.peer_at(peer.source) is None
    assert peer.say(ours, at(1)) is None
    assert pending.say(ours, at(1)) is None
    assert ours.receive(0, peer.source, peer.initiation(at(1)), at(1), RANDOM) == TAKEN
    assert ours.observations() == []
    assert ours.unsaved() == []
    ours.admit(peer.key)
    ours.admit(peer.key)
    peer.join(ours, at(2))


# Two peers and one source


def test_nobody_pushes_another_from_its_address_by_a_forged_one() -> None:
    ours, victim, attacker = rendezvous(), MemoryPeer(1), MemoryPeer(2)
    victim.join(ours, at(0))
    attacker.join(ours, at(0))
    home, attacker.source = attacker.source, victim.source
    assert attacker.say(ours, at(1)) == TAKEN
    assert ours.peer_at(victim.source) == victim.key
    assert ours.source_of(attacker.key) == home
    attacker.source = home
    attacker.call(ours, at(2))
    attacker.source = victim.source
    assert attacker.say(ours, at(2)) == TAKEN, "the answer went home"
    assert ours.peer_at(victim.source) == victim.key
    assert ours.source_of(attacker.key) == home


def test_a_handshake_shows_who_receives_at_an_address() -> None:
    ours, before, after = rendezvous(), MemoryPeer(1), MemoryPeer(2)
    before.join(ours, at(0))
    after.source = before.source
    after.join(ours, at(1))
    assert ours.peer_at(after.source) == after.key
    assert ours.source_of(before.key) is None
    assert set(ours.observations()) == {Observation(before.key, 0, None), Observation(after.key, 0, after.source)}
    assert [saved.public_key for saved in ours.unsaved()] == [after.key]
    assert [saved.public_key for saved in ours.sessions()] == [after.key]
    before.source = address(80)
    assert before.say(ours, at(2)) == TAKEN
    assert ours.source_of(before.key) == before.source
    assert ours.peer_at(after.source) == after.key


def test_an_address_that_fell_silent_is_free() -> None:
    ours, gone, comer = rendezvous(), MemoryPeer(1), MemoryPeer(2)
    gone.join(ours, at(0))
    comer.join(ours, at(0))
    comer.source = gone.source
    assert comer.say(ours, at(TAKEN_SECONDS + 1)) == TAKEN
    assert ours.peer_at(gone.source) == comer.key
    assert ours.source_of(gone.key) is None
    ours.expire(at(REJECT_AFTER_TIME + 1))
    assert ours.peer_at(comer.source) is None


# The journal


def test_another_process_goes_on_where_this_one_was() -> None:
    ours, peer, second = rendezvous(), MemoryPeer(1), MemoryPeer(1, vantage=1)
    peer.join(ours, at(0))
    second.join(ours, at(0.5))
    saved = ours.unsaved()
    assert ours.unsaved() == []
    assert saved == ours.sessions()
    other = rendezvous()
    other.restore(saved, at(60))
    assert other.source_of(peer.key) == peer.source
    assert other.peer_at(peer.source) == peer.key
    assert set(other.observations()) == {
        Observation(peer.key, 0, peer.source),
        Observation(peer.key, 1, second.source),
    }
    assert peer.say(other, at(61)) == TAKEN
    assert second.say(other, at(61)) == TAKEN
    assert other.receive(0, peer.source, peer.initiation(at(-1)), at(62), RANDOM) == TAKEN, "older than the journal's"
    other.expire(at(REJECT_AFTER_TIME + 0.25))
    assert other.source_of(peer.key) is None
    assert second.say(other, at(REJECT_AFTER_TIME + 0.25)) == TAKEN


def test_a_restored_session_stays_where_it_is_until_the_next_handshake() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    saved = ours.sessions()
    replayed = peer.keepalive()
    assert ours.receive(0, peer.source, replayed, at(1), RANDOM) == TAKEN
    other = rendezvous()
    other.restore(saved, at(2))
    assert other.receive(0, address(66), replayed, at(3), RANDOM) == TAKEN
    assert other.source_of(peer.key) == peer.source
    peer.source = address(70)
    peer.join(other, at(4))
    peer.source = address(71)
    assert peer.say(other, at(5)) == TAKEN
    assert other.source_of(peer.key) == address(71)


def test_the_last_of_a_journal_counts() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    first = ours.unsaved()
    peer.source = address(70)
    assert peer.say(ours, at(10)) == TAKEN
    moved = ours.unsaved()
    peer.join(ours, at(20))
    newest = ours.unsaved()
    other = rendezvous()
    other.restore([*first, *moved], at(30))
    assert other.source_of(peer.key) == address(70)
    other.restore(newest, at(30))
    assert peer.say(other, at(31)) == TAKEN
    assert len(other.sessions()) == 1


def test_what_cannot_be_restored_is_left_out() -> None:
    ours, peer, other_peer = rendezvous(), MemoryPeer(1), MemoryPeer(2)
    peer.join(ours, at(0))
    other_peer.join(ours, at(0))
    good, taken = ours.sessions()
    other = rendezvous()
    other.restore(
        [
            msgspec.structs.replace(good, public_key=public_key(99)),
            msgspec.structs.replace(good, vantage=2),
            msgspec.structs.replace(good, vantage=-1),
            msgspec.structs.replace(good, receiving_key=b"short"),
            msgspec.structs.replace(good, created=WALL - REJECT_AFTER_TIME),
            taken,
            msgspec.structs.replace(good, index=taken.index),
        ],
        at(10),
    )
    assert [saved.public_key for saved in other.sessions()] == [other_peer.key]


def test_a_clock_that_was_set_back_costs_no_session_and_prolongs_none() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    other = rendezvous()
    other.restore(ours.sessions(), Instant(10.0, WALL - 1000))
    assert other.source_of(peer.key) == peer.source
    assert [saved.created for saved in other.sessions()] == [WALL - 1000]
    other.expire(Instant(10.1 + REJECT_AFTER_TIME, WALL))
    assert other.sessions() == []


def test_a_restored_session_goes_on_over_a_websocket_of_its_peer_only() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    other = rendezvous()
    other.restore(ours.sessions(), at(1))
    home, peer.source = peer.source, WebSource(1, public_key(2))
    assert peer.say(other, at(2)) is None
    assert other.source_of(peer.key) == home
    peer.source = WebSource(2, peer.key)
    assert peer.say(other, at(3)) == TAKEN
    assert other.source_of(peer.key) == peer.source


def test_who_roams_without_end_fills_no_journal() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    ours.unsaved()
    written = []
    for step in range(1, 301):
        now = at(step / 100)
        peer.source = address(100 + step % 2)
        assert peer.say(ours, now) == TAKEN
        if step % 100 == 0:
            ours.expire(now)
        written += ours.unsaved()
    assert len(written) <= 6
    assert written[-1].source == peer.source == ours.source_of(peer.key)
    ours.dismiss(peer.key)
    ours.expire(at(4))
    assert ours.unsaved() == []


def test_a_websocket_is_not_kept() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.source = WebSource(1, peer.key)
    peer.join(ours, at(0))
    assert ours.source_of(peer.key) == peer.source
    assert ours.unsaved() == []
    assert ours.sessions() == []


def test_a_saved_session_does_not_show_its_key() -> None:
    saved = SavedSession(public_key(1), 0, 5, b"secret" * 5 + b"!!", 1, WALL, bytes(12), ("192.0.2.1", 5))
    assert "secret" not in repr(saved)
    assert "192.0.2.1" in repr(saved)


def test_an_index_is_never_given_twice() -> None:
    ours, first, second = rendezvous(), MemoryPeer(1), MemoryPeer(2)
    drawn = iter([b"\1\0\0\0", b"\1\0\0\0", b"\2\0\0\0"])

    def random(length: int) -> bytes:
        return next(drawn) if length == 4 else RANDOM(length)

    for peer in (first, second):
        answer = ours.receive(0, peer.source, peer.initiation(at(0)), at(0), random)
        assert answer
        peer.finish(answer)
    assert (first.index, second.index) == (1, 2)


# Pings


def test_a_ping_is_answered_with_the_address_it_came_from() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    sent = int(WALL * 1e6)
    pong = ours.receive(0, address(5, 7), peer.ping(sent), at(0), RANDOM)
    assert pong
    assert Pong.parse(pong, peer.ping_keys()) == Pong(sent, Endpoint.parse("198.51.0.6:7"))
    assert ours.receive(0, WebSource(1, peer.key), peer.ping(sent + 1), at(0), RANDOM)
    assert ours.counts.pongs == 2
    assert ours.source_of(peer.key) is None, "a ping proves no address"


def test_a_ping_that_is_not_what_it_claims_gets_nothing() -> None:
    ours, peer, stranger = rendezvous(), MemoryPeer(1), MemoryPeer(9)
    sent = int(WALL * 1e6)
    assert ours.receive(0, peer.source, peer.ping(sent), at(0), RANDOM)
    skew = (pings.MAX_SKEW_SECONDS + 1) * 1_000_000
    datagrams = [
        peer.ping(sent),
        peer.ping(sent - 1),
        peer.ping(sent + skew),
        stranger.ping(sent),
        peer.ping(sent + 1)[:-1] + b"\0",
        MemoryPeer(1, vantage=1).ping(sent + 1),
    ]
    for datagram in datagrams:
        assert ours.receive(0, peer.source, datagram, at(0), RANDOM) == TAKEN
    assert ours.receive(1, peer.source, MemoryPeer(1, vantage=1).ping(sent - skew), at(0), RANDOM) == TAKEN
    assert ours.counts.refused == len(datagrams) + 1


def test_pings_of_one_peer_are_limited() -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    sent = int(WALL * 1e6)
    answers = [ours.receive(0, peer.source, peer.ping(sent + n), at(0), RANDOM) for n in range(PONG_BURST + 2)]
    assert [bool(answer) for answer in answers] == [True] * PONG_BURST + [False] * 2
    later = at(PONG_GAP)
    answers = [ours.receive(0, peer.source, peer.ping(sent + 100 + n), later, RANDOM) for n in range(2)]
    assert [bool(answer) for answer in answers] == [True, False]


# Anything at all


@given(st.data())
def test_a_stranger_never_gets_an_answer_while_it_is_calm(data: st.DataObject) -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    peer.join(ours, at(0))
    samples = [peer.initiation(at(5)), peer.keepalive(), peer.ping(int(WALL * 1e6)), b"\2\0\0\0" + bytes(88)]
    sample = bytearray(data.draw(st.sampled_from(samples)))
    position = data.draw(st.integers(0, len(sample) - 1))
    sample[position] ^= data.draw(st.integers(1, 255))
    answer = ours.receive(0, address(66), bytes(sample), at(6), RANDOM)
    if len(sample) == INITIATION_SIZE and position >= INITIATION_SIZE - 16:
        assert answer  # mac2 counts under load only
    else:
        assert not answer
    assert ours.source_of(peer.key) == peer.source


@pytest.mark.parametrize("buffer", [bytearray, memoryview])
def test_any_buffer_will_do(buffer: type[bytearray] | type[memoryview]) -> None:
    ours, peer = rendezvous(), MemoryPeer(1)
    answer = ours.receive(0, peer.source, buffer(peer.initiation(at(0))), at(0), RANDOM)
    assert answer
    peer.finish(answer)
    assert ours.receive(0, peer.source, buffer(peer.keepalive()), at(0), RANDOM) == TAKEN
    assert ours.receive(0, peer.source, buffer(peer.ping(int(WALL * 1e6))), at(0), RANDOM)

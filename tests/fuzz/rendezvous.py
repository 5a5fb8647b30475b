"""A rendezvous under fire: what is not an unchanged message of a peer has no answer, and moves nobody.

The input is a program: each step takes what a peer or a stranger could send, may change it, and sends it from some
address to some vantage point at some later time.
"""

from __future__ import annotations

from functools import cache

from tests.core.wireguard_peer import RANDOM, VANTAGES, WALL, MemoryPeer, address, at
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.rendezvous import Rendezvous, SavedSession
from wireguard_mesh.core.rendezvous_gate import GateLimits
from wireguard_mesh.protocol.wireguard import MAC_LENGTH, MessageType, message_type

PEERS = (1, 2)  # registered
STRANGER = 9
STEP_BYTES = 6
MAX_STEPS = 24
LOADED = GateLimits(calm=1, calm_burst=1)
CALM = GateLimits()


@cache
def _recorded() -> tuple[tuple[SavedSession, ...], tuple[bytes, ...], frozenset[bytes]]:
    """Sessions of both peers at both vantage points, datagrams to send, and which of them peers really made."""
    rendezvous = Rendezvous(VANTAGES)
    genuine: list[bytes] = []
    for number in PEERS:
        for vantage in range(len(VANTAGES)):
            peer = MemoryPeer(number, vantage)
            rendezvous.admit(peer.key)
            peer.join(rendezvous, at(0))
            genuine += [peer.keepalive(), peer.keepalive(), peer.ping(int(WALL * 1e6) + number), peer.initiation(at(1))]
    stranger = MemoryPeer(STRANGER)
    theirs = [
        stranger.initiation(at(1)),
        stranger.ping(int(WALL * 1e6)),
        b"\2\0\0\0" + bytes(88),
        b"\4\0\0\0" + bytes(60),
    ]
    return tuple(rendezvous.sessions()), (*genuine, *theirs), frozenset(map(_identity, genuine))


def _identity(datagram: bytes) -> bytes:
    """What of a datagram makes it what it is: an initiation's mac2 counts under load only."""
    return datagram[:-MAC_LENGTH] if message_type(datagram) is MessageType.INITIATION else datagram


def run(program: bytes, limits: GateLimits) -> None:
    """Raises AssertionError if somebody was answered or moved who should not have been."""
    sessions, datagrams, genuine = _recorded()
    rendezvous = Rendezvous(VANTAGES, limits)
    for saved in sessions:
        rendezvous.admit(saved.public_key)
    rendezvous.restore(sessions, at(0))
    rendezvous.observations()
    for session in rendezvous._table.confirmed():
        session.may_roam = True
    seconds, used = 0.0, set[bytes]()
    for start in range(0, min(len(program), MAX_STEPS * STEP_BYTES), STEP_BYTES):
        what, position, change, source, vantage, pause = program[start : start + STEP_BYTES].ljust(STEP_BYTES, b"\0")
        datagram = bytearray(datagrams[what % len(datagrams)])
        datagram[position % len(datagram)] ^= change
        if change & 1 and pause & 1:
            del datagram[position:]
        seconds += pause / 16
        fresh = genuine - used
        if _send(rendezvous, bytes(datagram), source, vantage % len(VANTAGES), at(seconds), fresh):
            used.add(_identity(bytes(datagram)))
    _is_bounded(rendezvous)


def _send(
    rendezvous: Rendezvous, datagram: bytes, source: int, vantage: int, now: Instant, fresh: frozenset[bytes]
) -> bool:
    """`fresh`: what a peer made and was not taken before. Whether this was taken for a peer's own."""
    answer = rendezvous.receive(vantage, address(source), datagram, now, RANDOM)
    moved = rendezvous.observations()
    is_cookie_reply = bool(answer) and message_type(answer or b"") is MessageType.COOKIE_REPLY
    if answer:
        assert len(answer) <= len(datagram), "an answer is never longer than what it answers"
        assert is_cookie_reply or _identity(datagram) in fresh, "somebody who proved nothing was answered"
    assert not moved or datagram in fresh, "somebody was moved by a message that it did not make, or by a replay"
    rendezvous.expire(now)
    assert all(seen.source is None for seen in rendezvous.observations())
    return bool(answer and not is_cookie_reply) or bool(moved)


def _is_bounded(rendezvous: Rendezvous) -> None:
    table = rendezvous._table
    assert len(table._sessions) <= 2 * len(PEERS) * len(VANTAGES)
    assert len(table._at) <= len(PEERS)

"""A forwarder under fire: whatever comes, from wherever, goes at most once, as it is, to a peer that proved its place.

The input is a program: each step takes a datagram that a peer or a stranger could send, may change it, and sends it
from some address, alone or with others in one piece.
"""

from __future__ import annotations

from tests.core.forwarding_samples import at, cookie_reply, initiation, response, source, transport
from tests.samples import public_key
from wireguard_mesh.core.forwarding import Forwarder, spans
from wireguard_mesh.core.forwarding_routes import SavedRoute
from wireguard_mesh.core.sources import Source

PEERS = (1, 2, 3)  # 1 and 3 may not know each other
STEP_BYTES = 6
MAX_STEPS = 24
_INDEXES = 8
_SECONDS_A_STEP = 0.5
_ALLOWED = ({source(1), source(2)}, {source(2), source(3)})


def _datagrams() -> tuple[bytes, ...]:
    made = [initiation(recipient, index) for recipient in (*PEERS, 9) for index in (0, 5)]
    made += [response(index, other) for index in range(4) for other in range(4)]
    made += [cookie_reply(index) for index in range(_INDEXES)]
    made += [transport(index, size) for index in range(_INDEXES) for size in (32, 64, 1000)]
    return (*made, b"", b"\5\0\0\0" + bytes(60), bytes(200))


DATAGRAMS = _datagrams()


def run(program: bytes) -> None:
    """Raises AssertionError if a packet goes where it must not."""
    peers = {public_key(number): number for number in PEERS}
    forwarder = Forwarder(lambda one, other: {peers[one], peers[other]} != {1, 3})
    for number in PEERS:
        forwarder.admit(public_key(number))
        forwarder.locate(public_key(number), source(number))
    forwarder.restore(
        [
            SavedRoute(public_key(one), public_key(two), index, 1000)
            for one, two, index in ((1, 2, 6), (2, 1, 7), (1, 3, 4))
        ],
        at(0),
    )
    steps = [program[start : start + STEP_BYTES] for start in range(0, len(program) - STEP_BYTES + 1, STEP_BYTES)]
    for number, step in enumerate(steps[:MAX_STEPS]):
        _step(forwarder, step, number * _SECONDS_A_STEP)


def _step(forwarder: Forwarder, step: bytes, now: float) -> None:
    what, where, change, value, repeat, last = step
    datagram = bytearray(DATAGRAMS[what % len(DATAGRAMS)])
    if change and datagram:
        datagram[(change - 1) % len(datagram)] ^= value
    sender, size = source(1 + where % 5), max(1, len(datagram))
    piece = bytes(datagram) * (1 + repeat % 4) + bytes(datagram)[: last % size]
    packets = spans(0, len(piece), size)
    runs, rest = forwarder.forward(sender, piece, 0, len(piece), size, now)
    sent = [(span, destination) for destination, start, end, each in runs for span in spans(start, end, each)]
    for start, end in rest:
        destination = forwarder.forward_one(sender, piece[start:end], at(now))
        if destination is not None:
            sent.append(((start, end), destination))
    assert len({span for span, _ in sent}) == len(sent) <= len(packets)
    for span, destination in sent:
        assert span in packets
        _check(sender, destination)
    for destination, found in forwarder.search(100, now):
        assert len(found) in {len(piece), size, 148}
        assert destination in {source(number) for number in PEERS}


def _check(sender: Source, destination: Source) -> None:
    assert sender != destination
    assert any({sender, destination} == pair for pair in _ALLOWED)

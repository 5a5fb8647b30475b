"""Whatever comes, in whatever order: what a relay does never."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.core.forwarding_samples import at, cookie_reply, initiation, response, source, transport
from tests.samples import public_key
from wireguard_mesh.core.forwarding import Forwarder, ForwardingLimits, spans
from wireguard_mesh.core.forwarding_routes import REJECT_AFTER_TIME
from wireguard_mesh.core.sources import Source
from wireguard_mesh.model.keys import PublicKey

PEERS = st.integers(1, 5)
SOURCES = st.integers(1, 7)
INDEXES = st.integers(0, 5)
MAX_ROUTES = 8
DATAGRAMS = st.one_of(
    st.builds(initiation, st.integers(1, 6), INDEXES),
    st.builds(response, INDEXES, INDEXES),
    st.builds(cookie_reply, INDEXES),
    st.builds(transport, INDEXES, st.sampled_from([32, 48, 1000])),
    st.binary(max_size=200),
)


class Relay(RuleBasedStateMachine):
    """A forwarder, and beside it who is where and who may, in the plainest way."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.registered: set[PublicKey] = set()
        self.where: dict[PublicKey, Source] = {}
        self.forbidden: set[frozenset[PublicKey]] = set()
        self.handshakes: dict[frozenset[PublicKey], float] = {}
        self.forwarder = Forwarder(self.permits, ForwardingLimits(max_routes=MAX_ROUTES))
        self.forwarded = 0

    def permits(self, a: PublicKey, b: PublicKey) -> bool:
        return frozenset((a, b)) not in self.forbidden

    def peer_at(self, where: Source) -> PublicKey | None:
        return next((key for key, source in self.where.items() if source == where), None)

    def check(self, sender: PublicKey | None, destination: Source) -> None:
        assert sender in self.registered, "only from a source that was authenticated"
        receiver = self.peer_at(destination)
        assert receiver in self.registered, "only to one that was"
        assert sender is not None
        assert receiver is not None
        assert sender != receiver
        assert self.permits(sender, receiver)

    def note(self, sender: PublicKey | None, destination: Source, datagram: bytes) -> None:
        receiver = self.peer_at(destination)
        assert sender is not None
        assert receiver is not None
        pair = frozenset((sender, receiver))
        if datagram[:1] == b"\2":
            self.handshakes[pair] = self.now
        elif datagram[:1] == b"\4":
            assert self.now - self.handshakes[pair] < REJECT_AFTER_TIME, "no longer than the session"
            self.forwarded += 1

    @rule(number=PEERS)
    def admit(self, number: int) -> None:
        self.registered.add(public_key(number))
        self.forwarder.admit(public_key(number))

    @rule(number=PEERS)
    def dismiss(self, number: int) -> None:
        self.registered.discard(public_key(number))
        self.where.pop(public_key(number), None)
        self.forwarder.dismiss(public_key(number))

    @rule(number=PEERS, where=SOURCES)
    def locate(self, number: int, where: int) -> None:
        self.forwarder.locate(public_key(number), source(where))
        if public_key(number) in self.registered:
            before = self.peer_at(source(where))
            if before is not None:
                del self.where[before]
            self.where[public_key(number)] = source(where)

    @rule(number=PEERS)
    def lose(self, number: int) -> None:
        self.forwarder.locate(public_key(number), None)
        self.where.pop(public_key(number), None)

    @rule(a=PEERS, b=PEERS, is_forbidden=st.booleans())
    def permit(self, a: int, b: int, *, is_forbidden: bool) -> None:
        pair = frozenset((public_key(a), public_key(b)))
        if is_forbidden:
            self.forbidden.add(pair)
        else:
            self.forbidden.discard(pair)
        self.forwarder.recheck()

    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0, 179.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.forwarder.expire(self.now)

    @rule(where=SOURCES, datagrams=st.lists(DATAGRAMS, min_size=1, max_size=4))
    def receive(self, where: int, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self.receive_one(source(where), datagram)

    @rule(a=PEERS, b=PEERS, index_a=INDEXES, index_b=INDEXES)
    def shake(self, a: int, b: int, index_a: int, index_b: int) -> None:
        for number in (a, b):
            if public_key(number) not in self.where:
                self.admit(number)
                self.locate(number, number)
        self.receive_one(self.where.get(public_key(a), source(7)), initiation(b, index_a))
        self.search(1000)
        self.receive_one(self.where.get(public_key(b), source(7)), response(index_b, index_a))
        self.receive_one(self.where.get(public_key(a), source(7)), transport(index_b))

    def receive_one(self, where: Source, datagram: bytes) -> None:
        sender, size = self.peer_at(where), max(1, len(datagram))
        runs, rest = self.forwarder.forward(where, datagram, 0, len(datagram), size, self.now)
        assert len(runs) + len(rest) <= 1, "at most one out for one in"
        for destination, start, end, _ in runs:
            assert (start, end) == (0, len(datagram)), "as it came"
            self.check(sender, destination)
            self.note(sender, destination, datagram)
        if rest:
            destination_of_one = self.forwarder.forward_one(where, datagram, at(self.now))
            if destination_of_one is not None:
                self.check(sender, destination_of_one)
                self.note(sender, destination_of_one, datagram)

    @rule(where=SOURCES, index=INDEXES, other=INDEXES, size=st.sampled_from([32, 33, 100]), last=st.integers(1, 100))
    def receive_piece(self, where: int, index: int, other: int, size: int, last: int) -> None:
        piece = transport(index, max(size, 32)) + transport(other, max(size, 32)) + transport(index, 128)[:last]
        if last > size:
            return
        runs, rest = self.forwarder.forward(source(where), piece, 0, len(piece), size, self.now)
        parts = [span for _, start, end, each in runs for span in spans(start, end, each)]
        assert len(parts) + len(rest) <= 3
        assert set(parts) | set(rest) <= set(spans(0, len(piece), size))
        for destination, *_ in runs:
            self.check(self.peer_at(source(where)), destination)

    @rule(keys=st.integers(1, 300))
    def search(self, keys: int) -> None:
        for destination, datagram in self.forwarder.search(keys, self.now):
            assert datagram[:1] == b"\1"
            assert self.peer_at(destination) in self.registered

    @rule()
    def release(self) -> None:
        for destination, datagram in self.forwarder.released(at(self.now)):
            assert datagram[:1] == b"\1"
            assert self.peer_at(destination) in self.registered

    @rule()
    def restart(self) -> None:
        saved = self.forwarder.saved(at(self.now))
        self.forwarder = Forwarder(self.permits, ForwardingLimits(max_routes=MAX_ROUTES))
        for key in self.registered:
            self.forwarder.admit(key)
        self.forwarder.restore(saved, at(self.now))
        for key, where in self.where.items():
            self.forwarder.locate(key, where)

    @invariant()
    def bounded(self) -> None:
        assert self.forwarder.routes <= MAX_ROUTES
        assert len(self.forwarder.busiest(2 * MAX_ROUTES)) <= MAX_ROUTES


TestRelay = Relay.TestCase
TestRelay.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""What clients have is worked out from their bytes: it must be right, and wrong bytes must show."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.delays import Change, Watch
from bench.load.maps import NOTHING, MapState, digest_of
from tests.samples import NETWORK, peer
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.protocol import events
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.codec import encode

EPOCH = "abc"
UNTOUCHED = 50  # a peer that no change is about


def deflated(text: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(text) + machine.flush(zlib.Z_FULL_FLUSH)


def upsert(*peers: Peer) -> bytes:
    return events.upsert_event(encode(one) for one in peers)


def current(revision: int) -> bytes:
    return events.current_event(MapVersion(EPOCH, revision))


def snapshot(revision: int, *peers: Peer) -> bytes:
    return events.snapshot_event(NETWORK) + upsert(*peers) + current(revision)


def received(texts: Iterable[bytes], state: MapState = NOTHING) -> MapState:
    """The state of a client that received these pieces."""
    watch = Watch()
    for text in texts:
        piece = deflated(text)
        edge = state.edges.get(piece) or state.follow(piece, piece, watch)
        state = edge.target or state
    return state


def fresh(revision: int, *peers: Peer) -> str:
    return digest_of(MapUpdate(kind=UpdateKind.SNAPSHOT, epoch=EPOCH, revision=revision, network=NETWORK, upsert=peers))


def test_a_whole_map_and_changes() -> None:
    moved = msgspec.structs.replace(peer(2), revision=3, online=False)
    state = received([snapshot(2, peer(1), peer(2)), upsert(moved, peer(3)) + current(3)])
    assert state.digest == fresh(3, peer(3), peer(1), moved)
    assert state.count == 3
    state = received([events.remove_event([PeerId("peer-000001"), PeerId("peer-000009")]) + current(4)], state)
    assert state.digest == fresh(4, moved, peer(3))


def test_a_step_in_many_pieces_counts_when_it_is_complete() -> None:
    text = snapshot(2, peer(1), peer(2))
    half = len(text) // 2
    state = received([text[:half]])
    assert state.complete is NOTHING
    assert state.version is None
    whole = received([text[half:]], state)
    assert whole.digest == fresh(2, peer(1), peer(2))
    begun = received([upsert(peer(3))], whole)
    assert begun is not whole
    assert begun.complete is whole
    assert (begun.digest, begun.version, begun.count) == (whole.digest, whole.version, 2)
    assert received([current(3)], begun).digest == fresh(3, peer(1), peer(2), peer(3))
    assert received([current(3)], begun.complete).digest != fresh(3, peer(1), peer(2), peer(3))


def test_comments_lead_nowhere_and_retry_is_told() -> None:
    state = received([snapshot(2, peer(1))])
    assert received([events.KEEPALIVE], state) is state
    assert received([current(2)], state) is state
    edge = state.follow(b"", deflated(events.retry_field(5.0)), Watch())
    assert (edge.target, edge.retry, edge.is_step) == (None, 5.0, False)
    assert state.follow(b"x", deflated(current(2)), Watch()).is_step


def test_changes_are_noted_in_steps_and_not_in_whole_maps() -> None:
    watch, change = Watch(), Change("join", 0.0)
    watch.expect((peer(2).public_key, str(peer(2).endpoints[0])), change)
    assert NOTHING.follow(b"", deflated(snapshot(2, peer(1), peer(2))), watch).arrivals is None
    state = received([snapshot(2, peer(1))])
    arrivals = state.follow(b"", deflated(upsert(peer(2)) + current(3) + current(3)), watch).arrivals
    assert arrivals is not None
    assert change.steps == [arrivals]


def test_the_same_bytes_are_worked_out_once() -> None:
    start = received([snapshot(2, peer(1))])
    assert received([upsert(peer(2)) + current(3)], start) is received([upsert(peer(2)) + current(3)], start)


@pytest.mark.parametrize(
    "piece",
    [
        b"no deflate",
        deflated(current(1)),  # before what stands
        deflated(events.current_event(MapVersion("other", 9))),
        deflated(b"event:upsert\ndata:[{}]\n\n" + current(3)),
        zlib.compress(b"whole", wbits=-15) + b"more",
        deflated(current(3))[:-1],
    ],
)
def test_what_no_server_sends_is_refused(piece: bytes) -> None:
    with pytest.raises(InvalidValue):
        received([snapshot(2, peer(1))]).follow(piece, piece, Watch())


def test_a_piece_that_needs_an_earlier_one_is_refused() -> None:
    machine = zlib.compressobj(wbits=-15)
    text = snapshot(2, peer(1))
    first = machine.compress(text) + machine.flush(zlib.Z_SYNC_FLUSH)
    second = machine.compress(text) + machine.flush(zlib.Z_SYNC_FLUSH)
    assert NOTHING.follow(b"a", first, Watch()).is_step
    with pytest.raises(InvalidValue, match="by itself"):
        NOTHING.follow(b"b", second, Watch())


@dataclass
class Mesh:
    """What the server has, and the steps that it sent."""

    peers: dict[int, Peer] = field(default_factory=lambda: {UNTOUCHED: peer(UNTOUCHED)})
    revision: int = 1
    steps: list[bytes] = field(default_factory=list)

    def change(self, numbers: Sequence[int]) -> None:
        """Each of these is removed if it is there and even, else it is new or changed."""
        self.revision += 1
        gone = [number for number in numbers if number in self.peers and number % 2 == 0]
        new = [number for number in numbers if number not in gone]
        for number in gone:
            del self.peers[number]
        for number in new:
            self.peers[number] = msgspec.structs.replace(peer(number), revision=self.revision)
        text = events.remove_event([peer(number).id for number in gone]) if gone else b""
        self.steps.append(text + upsert(*(self.peers[number] for number in new)) + current(self.revision))

    @property
    def digest(self) -> str:
        return fresh(self.revision, *reversed(self.peers.values()))


CHANGES = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True), min_size=1, max_size=12)


@given(CHANGES)
def test_every_step_leads_to_the_fresh_map(changes: list[list[int]]) -> None:
    mesh = Mesh()
    state = received([snapshot(1, peer(UNTOUCHED))])
    for numbers in changes:
        mesh.change(numbers)
        state = received(mesh.steps[-1:], state)
        assert state.digest == mesh.digest


@given(CHANGES, st.data())
def test_a_client_that_missed_a_step_shows_it(changes: list[list[int]], data: st.DataObject) -> None:
    mesh = Mesh()
    for numbers in changes:
        mesh.change(numbers)
    first = snapshot(1, peer(UNTOUCHED))
    missed = data.draw(st.integers(0, len(changes) - 1))
    whole = received([first, *mesh.steps])
    others = received([first, *mesh.steps[:missed], *mesh.steps[missed + 1 :]])
    assert whole.digest == mesh.digest
    if missed == len(changes) - 1 or _matters(changes, missed):
        assert others.digest != mesh.digest


def _matters(changes: list[list[int]], missed: int) -> bool:
    # What is changed again later is right again.
    return not set(changes[missed]) <= {number for numbers in changes[missed + 1 :] for number in numbers}


@given(CHANGES, st.data())
def test_a_client_whose_bytes_differ_shows_it(changes: list[list[int]], data: st.DataObject) -> None:
    mesh = Mesh()
    for numbers in changes:
        mesh.change(numbers)
    text = snapshot(1, peer(UNTOUCHED))
    forged = text.replace(b"host-50", b"host-5" + data.draw(st.sampled_from("123456789")).encode())
    assert received([text, *mesh.steps]).digest == mesh.digest
    assert received([forged, *mesh.steps]).digest != mesh.digest

"""Steps of the stream become updates, whole or not at all; that they end in the right map is shown at the end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.samples import empty, public_key
from tests.core.test_registry import BATCHES
from tests.samples import NETWORK, peer
from wireguard_mesh.core import following, netmap, registry
from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Command
from wireguard_mesh.core.following import MapReceiver
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion, NetworkMap
from wireguard_mesh.protocol import events
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.events import Event, EventParser

CHUNK = 2


def written(update: MapUpdate) -> bytes:
    """A step as a server writes it, in small pieces."""
    text = b"" if update.network is None else events.snapshot_event(update.network)
    if update.remove:
        text += events.remove_event(update.remove)
    for start in range(0, len(update.upsert), CHUNK):
        text += events.upsert_event(encode(one) for one in update.upsert[start : start + CHUNK])
    return text + events.current_event(MapVersion(update.epoch, update.revision))


def received(text: bytes) -> list[MapUpdate]:
    receiver = MapReceiver()
    return [update for event in EventParser().feed(text) if (update := receiver.take(event)) is not None]


@pytest.mark.parametrize(
    "update",
    [
        MapUpdate(kind=UpdateKind.SNAPSHOT, epoch="e", revision=5, network=NETWORK, upsert=(peer(1), peer(2), peer(3))),
        MapUpdate(kind=UpdateKind.SNAPSHOT, epoch="e", revision=0, network=NETWORK),
        MapUpdate(kind=UpdateKind.DELTA, epoch="e", revision=6, upsert=(peer(1),), remove=(PeerId("peer-000004"),)),
        MapUpdate(kind=UpdateKind.DELTA, epoch="e", revision=6, remove=(PeerId("peer-000004"),)),
        MapUpdate(kind=UpdateKind.CURRENT, epoch="e", revision=7),
    ],
)
def test_an_update_survives_the_stream(update: MapUpdate) -> None:
    assert received(written(update)) == [update]
    assert received(written(update) + written(update)) == [update, update]


def test_a_snapshot_in_the_midst_of_a_step_begins_anew() -> None:
    cut = events.upsert_event([encode(peer(9))])
    update = MapUpdate(kind=UpdateKind.SNAPSHOT, epoch="e", revision=5, network=NETWORK, upsert=(peer(1),))
    assert received(cut + written(update)) == [update]


def test_events_of_later_versions_mean_nothing() -> None:
    assert MapReceiver().take(Event("relays", b"[]")) is None


@pytest.mark.parametrize(
    "event",
    [
        Event("snapshot", b"{}"),
        Event("upsert", b"{}"),
        Event("remove", b"[1]"),
        Event("current", b"{}"),
        Event("current", b"{}", "5"),
    ],
)
def test_what_no_server_sends_is_refused(event: Event) -> None:
    with pytest.raises(InvalidValue):
        MapReceiver().take(event)


def test_an_endless_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_STEP", 3)
    receiver = MapReceiver()
    receiver.take(Event("later", b"12"))
    with pytest.raises(InvalidValue, match="longer"):
        receiver.take(Event("later", b"12"))


class Client:
    """A machine that follows the stream, and is cut off from it at any byte."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.map: NetworkMap | None = None
        self._parser, self._receiver = EventParser(), MapReceiver()

    def cut_off(self) -> None:
        self._parser, self._receiver = EventParser(), MapReceiver()

    def hear(self, text: bytes) -> None:
        for event in self._parser.feed(text):
            update = self._receiver.take(event)
            if update is not None:
                self.map = netmap.apply(self.map, update, public_key(self.seed))

    def follow(self, snapshot: Snapshot, part: float = 1.0) -> None:
        """Be told what changed, or as much of it as comes before the stream is cut."""
        if public_key(self.seed) not in snapshot.records:
            return
        update = changes_since(snapshot, public_key(self.seed), self.map.version if self.map else None)
        text = written(update)
        self.hear(text[: round(len(text) * part)])
        if part < 1:
            self.cut_off()


LOOKS = st.lists(st.tuples(st.integers(1, 6), st.sampled_from([0.3, 0.7, 0.99, 1.0])), max_size=4)


@given(BATCHES, st.lists(LOOKS, max_size=12), st.integers(0, 4))
@settings(max_examples=150, deadline=None)
def test_any_changes_interruptions_and_resumes_end_in_the_map_that_a_fresh_snapshot_gives(
    batches: list[tuple[list[Command], float]], looks: list[list[tuple[int, float]]], kept: int
) -> None:
    snapshot = empty()
    clients = {seed: Client(seed) for seed in range(1, 7)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "TOMBSTONES_KEPT", kept)
        for position, (batch, now) in enumerate(batches):
            snapshot = decide(snapshot, batch, now).snapshot
            for seed, part in looks[position] if position < len(looks) else []:
                clients[seed].follow(snapshot, part)
    for seed, client in clients.items():
        client.follow(snapshot)
        if public_key(seed) in snapshot.records:
            newcomer = Client(seed)
            newcomer.follow(snapshot)
            assert client.map == newcomer.map

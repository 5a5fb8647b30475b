"""In which steps the map is pushed, how often, and when readers come back."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import EPOCH, empty, public_key, register, relay
from wireguard_mesh.core.commands import Command, DropRelay, Leave, PutRelay
from wireguard_mesh.core.pushing import FEW_RECORDS, DutyCycle, Step, next_step, reconnect_seconds
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import MapVersion, Peer

LARGE = MeshNetwork(IPv4Network("10.100.0.0/16"), IPv6Network("fd00:1:2::/64"))


def after(snapshot: Snapshot, *commands: Command) -> Snapshot:
    return decide(snapshot, commands, 0.0).snapshot


def version(revision: int, epoch: str = EPOCH) -> MapVersion:
    return MapVersion(epoch, revision)


def test_nothing_changed_is_an_empty_step() -> None:
    snapshot = after(empty(), register(1))
    assert next_step(snapshot, version(1)) == Step(1, (), ())


def test_what_changed_is_told_with_its_last_change_only() -> None:
    first = after(empty(), register(1), register(2))
    second = after(first, register(1, hostname="renamed"))
    last = after(second, Leave(public_key=public_key(2), signed=True))
    gone = first.records[public_key(2)].peer.id
    assert next_step(last, version(1)) == Step(3, (gone,), (last.records[public_key(1)].peer,))
    assert next_step(last, version(2)) == Step(3, (gone,), ())


def test_relays_come_with_the_step_of_their_revision() -> None:
    snapshot = after(after(after(empty(), register(1)), PutRelay(relay=relay(1))), register(2))
    assert [next_step(snapshot, version(seen), limit=1) for seen in (1, 2)] == [
        Step(3, (), (snapshot.records[public_key(2)].peer,), (relay(1),)),
        Step(3, (), (snapshot.records[public_key(2)].peer,), None),
    ]
    first = next_step(after(snapshot, register(1, hostname="new")), version(0), limit=1)
    assert first is not None
    assert (first.revision, first.relays) == (3, (relay(1),))
    late = next_step(after(snapshot, PutRelay(relay=relay(2))), version(0), limit=1)
    assert late is not None
    assert (late.revision, late.relays) == (1, None)


@pytest.mark.parametrize("since", [version(1, "other"), version(3)])
def test_what_cannot_be_followed_is_told_whole(since: MapVersion) -> None:
    snapshot = after(after(empty(), register(1)), register(2))
    assert next_step(snapshot, since) is None


def test_most_of_a_large_map_is_told_whole() -> None:
    snapshot = empty(LARGE)
    for number in range(FEW_RECORDS + 1):
        snapshot = after(snapshot, register(number))
    assert next_step(snapshot, version(0)) is None
    step = next_step(snapshot, version(1))
    assert step is not None
    assert len(step.upsert) == FEW_RECORDS


def take(have: dict[PublicKey, Peer], step: Step) -> dict[PublicKey, Peer]:
    kept = {key: peer for key, peer in have.items() if peer.id not in step.remove}
    return kept | {peer.public_key: peer for peer in step.upsert}


def peers_of(snapshot: Snapshot) -> dict[PublicKey, Peer]:
    return {key: record.peer for key, record in snapshot.records.items()}


COMMANDS = st.one_of(
    st.builds(register, st.integers(1, 8), hostname=st.sampled_from(["a", "b", "c"])),
    st.builds(lambda seed: Leave(public_key=public_key(seed), signed=True), st.integers(1, 8)),
    st.builds(lambda seed, port: PutRelay(relay=relay(seed, port=port)), st.integers(1, 2), st.sampled_from([80, 90])),
    st.builds(lambda seed: DropRelay(id=relay(seed).id), st.integers(1, 2)),
)


@given(st.lists(st.lists(COMMANDS, max_size=4), max_size=12), st.data(), st.integers(1, 5))
def test_steps_of_any_size_lead_to_the_map_and_can_be_interrupted_anywhere(
    batches: list[list[Command]], data: st.DataObject, limit: int
) -> None:
    history = [empty()]
    for batch in batches:
        history.append(after(history[-1], *batch))
    began = data.draw(st.sampled_from(history))
    have, since = peers_of(began), version(began.revision)
    relays = began.relays
    while since.revision < history[-1].revision:
        # The map goes on changing while it is told.
        now = data.draw(st.sampled_from([later for later in history if later.revision > since.revision]))
        step = next_step(now, since, limit)
        assert step is not None
        assert since.revision < step.revision <= now.revision
        below = [record for record in now.changed_since(since.revision) if record.peer.revision < step.revision]
        assert len(below) < limit + (step.relays is not None)  # the last revision alone may exceed it
        have, since = take(have, step), version(step.revision)
        relays = relays if step.relays is None else step.relays
    assert have == peers_of(history[-1])
    assert relays == history[-1].relays


def test_reconnects_are_spread_by_the_number_of_those_who_do() -> None:
    assert reconnect_seconds(6_000) == 10.0
    assert reconnect_seconds(10) < 0.05


def test_pushing_takes_half_of_the_time_at_most() -> None:
    duty = DutyCycle()
    assert duty.delay(100.0) == 0.0
    duty.pushed(100.0, 100.2)
    assert duty.delay(100.2) == pytest.approx(0.2)
    assert duty.delay(100.3) == pytest.approx(0.1)
    assert duty.delay(100.5) == 0.0

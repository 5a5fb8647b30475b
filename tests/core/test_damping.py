"""A storm becomes a trickle, and the last word counts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.samples import empty, observe, public_key, register
from wireguard_mesh.core.commands import Heartbeat, MarkOffline, Observe
from wireguard_mesh.core.damping import Damping
from wireguard_mesh.core.ratelimit import RateLimited
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import NotPermitted
from wireguard_mesh.model.relays import NatClass

KEY = public_key(1)


def beat(port: int | None = None, exit_node: bool | None = None, *, signed: bool = True) -> Heartbeat:
    endpoints = None if port is None else (Endpoint.parse(f"192.0.2.1:{port}"),)
    return Heartbeat(public_key=KEY, signed=signed, endpoints=endpoints, exit_node=exit_node)


class Mesh:
    """One peer, and what becomes of what it says."""

    def __init__(self, burst: float, rate: float) -> None:
        self.damping = Damping(burst, rate)
        self.snapshot: Snapshot = decide(empty(), [register(1)], 0.0).snapshot

    def hear(self, command: Heartbeat, now: float) -> bool:
        """Whether it was written."""
        passed = self.damping.heartbeat(self.snapshot.record(KEY), command, now)
        return self.write([passed] if passed else [])

    def look(self, now: float) -> bool:
        return self.write(self.damping.due(self.snapshot.records, now))

    def write(self, commands: Sequence[Heartbeat | Observe]) -> bool:
        before = self.snapshot
        self.snapshot = decide(before, commands, 0.0).snapshot
        return self.snapshot is not before

    @property
    def said(self) -> tuple[tuple[Endpoint, ...], bool]:
        peer = self.snapshot.record(KEY).peer
        return peer.endpoints, peer.exit_node


def test_what_comes_too_fast_is_held_back_and_the_newest_of_it_counts() -> None:
    mesh = Mesh(2, 0.1)
    assert [mesh.hear(beat(port), 0.0) for port in (1, 2, 3, 4)] == [True, True, False, False]
    assert mesh.said == (beat(2).endpoints, False)
    assert not mesh.look(5.0)
    assert mesh.look(10.0)
    assert mesh.said == (beat(4).endpoints, False)
    assert not mesh.look(20.0)


def test_what_only_lives_is_never_held_back() -> None:
    mesh = Mesh(1, 0.1)
    mesh.hear(beat(1), 0.0)
    assert not any(mesh.hear(beat(), 0.0) for _ in range(50))
    assert mesh.hear(beat(2), 10.0)


def test_who_is_back_where_it_was_has_nothing_to_say_any_more() -> None:
    mesh = Mesh(1, 0.1)
    mesh.hear(beat(1), 0.0)
    mesh.hear(beat(2), 0.0)
    mesh.hear(beat(1), 0.0)
    assert not mesh.look(100.0)
    assert mesh.said == (beat(1).endpoints, False)


def test_each_thing_that_is_said_while_it_waits_is_kept() -> None:
    mesh = Mesh(1, 0.1)
    mesh.hear(beat(1), 0.0)
    mesh.hear(beat(2), 0.0)
    mesh.hear(beat(exit_node=True), 0.0)
    mesh.hear(beat(), 0.0)
    assert mesh.look(10.0)
    assert mesh.said == (beat(2).endpoints, True)


def test_coming_and_going_count_as_changes() -> None:
    mesh = Mesh(1, 0.1)
    mesh.hear(beat(1), 0.0)
    mesh.snapshot = decide(mesh.snapshot, [MarkOffline(public_key=KEY)], 0.0).snapshot
    assert not mesh.hear(beat(), 1.0)
    mesh.damping.forget(KEY)
    assert not mesh.look(20.0)
    assert mesh.hear(beat(), 20.0)


def test_a_registration_is_refused_and_not_held_back() -> None:
    mesh = Mesh(1, 0.1)
    record = mesh.snapshot.record(KEY)
    mesh.damping.register(record, register(1), 0.0)  # says nothing new
    mesh.damping.register(None, register(1), 0.0)
    for standing, hostname in ((None, "machine"), (record, "other")):
        with pytest.raises(RateLimited, match="changes too often"):
            mesh.damping.register(standing, register(1, hostname=hostname), 0.0)
    offline = msgspec.structs.replace(record, peer=msgspec.structs.replace(record.peer, online=False))
    with pytest.raises(RateLimited):
        mesh.damping.register(offline, register(1), 0.0)
    mesh.hear(beat(1), 0.0)
    mesh.damping.register(record, register(1), 0.0)
    assert not mesh.look(100.0)  # the registration said all that there is to say


def test_what_relays_see_has_a_bucket_of_its_own_and_the_last_word_counts() -> None:
    mesh = Mesh(1, 0.1)
    record = mesh.snapshot.record(KEY)
    assert mesh.hear(beat(1), 0.0)
    assert mesh.damping.observe(record, observe(1, "192.0.2.9:1"), 0.0) == observe(1, "192.0.2.9:1")
    assert mesh.damping.observe(record, observe(1, nat=NatClass.UNKNOWN), 0.0) is None  # it is so already
    assert mesh.damping.observe(record, observe(1, "192.0.2.9:2"), 0.0) is None
    assert mesh.damping.observe(record, observe(1, "192.0.2.9:3"), 0.0) is None
    assert mesh.damping.due(mesh.snapshot.records, 5.0) == []
    assert mesh.damping.due(mesh.snapshot.records, 10.0) == [observe(1, "192.0.2.9:3")]
    mesh.damping.hold(observe(1, "192.0.2.9:4"))
    mesh.damping.is_silent(KEY)  # which a relay knows nothing of
    assert mesh.damping.due(mesh.snapshot.records, 20.0) == [observe(1, "192.0.2.9:4")]
    mesh.damping.hold(observe(1, "192.0.2.9:5"))
    mesh.damping.forget(KEY)
    assert mesh.damping.due(mesh.snapshot.records, 50.0) == []


def test_who_is_gone_is_forgotten() -> None:
    mesh = Mesh(1, 0.1)
    mesh.hear(beat(1), 0.0)
    mesh.hear(beat(2), 0.0)
    assert mesh.damping.due({}, 100.0) == []
    assert not mesh.look(100.0)


def test_what_could_not_be_written_waits_again_behind_what_is_newer() -> None:
    mesh = Mesh(1, 0.1)
    mesh.hear(beat(1), 0.0)
    mesh.damping.hold(beat(2))
    assert mesh.look(10.0)
    assert mesh.said == (beat(2).endpoints, False)
    mesh.hear(beat(4), 10.0)
    mesh.damping.hold(beat(3))
    assert mesh.look(20.0)
    assert mesh.said == (beat(4).endpoints, False)


def test_a_plain_heartbeat_disturbs_nothing_of_a_key_that_signs() -> None:
    mesh = Mesh(1, 0.1)
    mesh.hear(beat(1), 0.0)
    mesh.hear(beat(2), 0.0)
    with pytest.raises(NotPermitted):
        mesh.hear(beat(3, signed=False), 0.0)
    assert mesh.look(10.0)
    assert mesh.said == (beat(2).endpoints, False)


@given(st.lists(st.tuples(st.integers(1, 5), st.none() | st.booleans(), st.floats(0, 20)), max_size=60))
def test_changes_are_bounded_and_the_last_word_counts(words: list[tuple[int, bool | None, float]]) -> None:
    mesh = Mesh(3, 0.1)
    now = 0.0
    written = 0
    for port, exit_node, pause in words:
        now += pause
        written += mesh.look(now)
        written += mesh.hear(beat(port, exit_node), now)
    assert written <= 3 + now * 0.1 + 1
    now += 100
    mesh.look(now)
    exits = [exit_node for _, exit_node, _ in words if exit_node is not None]
    if words:
        assert mesh.said == (beat(words[-1][0]).endpoints, bool(exits and exits[-1]))


def test_a_relay_that_lies_keeps_no_peer_from_changing() -> None:
    mesh = Mesh(2, 0.1)
    for port in range(1, 100):
        record = mesh.snapshot.record(KEY)
        seen = mesh.damping.observe(record, observe(1, f"192.0.2.9:{port}"), 0.0)
        mesh.write([seen] if seen else [])
    assert mesh.hear(beat(1), 0.0)
    mesh.damping.register(mesh.snapshot.record(KEY), register(1, hostname="other"), 0.0)

"""The sweep: who is offline, and what is kept of when peers were seen."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.core.samples import public_key
from tests.server.conftest import START, Server
from wireguard_mesh.core.commands import Command, Heartbeat, Leave
from wireguard_mesh.core.damping import CHANGE_BURST
from wireguard_mesh.core.registry import Outcome
from wireguard_mesh.core.snapshot import Record, Snapshot
from wireguard_mesh.model.errors import NotFound, Unavailable
from wireguard_mesh.server.presence import FLUSH_SECONDS
from wireguard_mesh.store.store import Decide

ANN, BOB = 1, 2


def online(server: Server, seed: int) -> bool:
    return server.mesh.snapshot.record(public_key(seed)).peer.online


async def sweep_for(server: Server, seconds: int) -> None:
    for _ in range(seconds // 10):
        server.time.pass_by(10)
        await server.mesh.sweep()


async def test_silence_takes_offline_all_late_ones_in_one_revision_and_a_heartbeat_brings_back(server: Server) -> None:
    await server.join(ANN)
    await server.join(BOB)
    await sweep_for(server, 120)
    assert online(server, ANN)
    await sweep_for(server, 10)
    assert not online(server, ANN)
    assert not online(server, BOB)
    assert server.mesh.snapshot.revision == 3
    await server.signed(ANN, "POST", "/v1/heartbeat", {})
    assert online(server, ANN)
    assert server.mesh.last_heard(public_key(ANN)) == START + 130


async def test_heartbeats_keep_online_without_a_revision(server: Server) -> None:
    await server.join(ANN)
    for _ in range(10):
        await sweep_for(server, 30)
        await server.signed(ANN, "POST", "/v1/heartbeat", {})
    assert online(server, ANN)
    assert server.mesh.snapshot.revision == 1


async def test_a_wall_clock_that_jumps_takes_nobody_offline(server: Server) -> None:
    await server.join(ANN)
    server.time.wall += 86_400
    await sweep_for(server, 60)
    server.time.wall -= 2 * 86_400
    await sweep_for(server, 60)
    assert online(server, ANN)


async def test_a_heartbeat_during_the_sweep_s_write_wins(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.join(ANN)
    commit = server.store.commit

    async def slow(base: Snapshot, decided: Decide, wall: float, *, always: bool = False) -> Outcome:
        server.time.pass_by(1)
        if base.record(public_key(ANN)).peer.online:
            await server.mesh.heartbeat(Heartbeat(public_key=public_key(ANN), signed=True))
        return await commit(base, decided, wall, always=always)

    monkeypatch.setattr(server.store, "commit", slow)
    await sweep_for(server, 130)
    assert online(server, ANN)


async def test_a_sweep_that_cannot_write_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_batch: object, **_options: object) -> Outcome:
        raise Unavailable("disk I/O error")

    await server.join(ANN)
    with monkeypatch.context() as patch:
        patch.setattr(server.store, "commit", fail)
        await sweep_for(server, 130)
        assert online(server, ANN)
    await sweep_for(server, 10)
    assert not online(server, ANN)


async def test_who_says_what_cannot_be_written_lives_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_batch: object, **_options: object) -> Outcome:
        raise Unavailable("the disk is full")

    await server.join(ANN)
    with monkeypatch.context() as patch:
        patch.setattr(server.store, "commit", fail)
        for _ in range(20):
            answer = await server.signed(ANN, "POST", "/v1/heartbeat", {"endpoints": ["192.0.2.1:51820"]})
            assert answer.status_code == 503
            await sweep_for(server, 10)
    revision = server.mesh.snapshot.revision
    await sweep_for(server, 10)
    assert online(server, ANN)
    assert server.mesh.snapshot.revision == revision


async def test_when_peers_were_seen_is_kept_now_and_then(server: Server) -> None:
    await server.join(ANN)
    server.time.pass_by(20)
    await server.signed(ANN, "POST", "/v1/heartbeat", {})
    await server.mesh.sweep()
    assert (await server.store.reload()).last_seen[public_key(ANN)] == START
    await sweep_for(server, int(FLUSH_SECONDS))
    assert (await server.store.reload()).last_seen[public_key(ANN)] == START + 20


async def test_a_flush_that_fails_is_said_once_and_loses_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_seen: object, _wall: float) -> None:
        raise Unavailable("disk is full")

    await server.join(ANN)
    server.time.pass_by(5)
    await server.signed(ANN, "POST", "/v1/heartbeat", {})
    with monkeypatch.context() as patch:
        patch.setattr(server.store, "save_last_seen", fail)
        await server.mesh.flush()
        await server.mesh.flush()
    assert caplog.text.count("disk is full") == 1
    await server.mesh.flush()
    assert (await server.store.reload()).last_seen[public_key(ANN)] == START + 5


async def test_who_left_is_not_heard_of_any_more(server: Server) -> None:
    await server.join(ANN)
    await server.mesh.leave(public_key(ANN), signed=True)
    assert server.mesh.last_heard(public_key(ANN)) == 0.0
    with pytest.raises(NotFound):
        await server.mesh.heartbeat(Heartbeat(public_key=public_key(ANN), signed=True))


async def test_a_peer_that_changes_without_end_is_limited_and_one_that_only_lives_is_not(server: Server) -> None:
    def names() -> Iterator[str]:
        return (f"name-{turn}" for turn in range(CHANGE_BURST + 1))

    await server.join(ANN)
    await server.join(BOB)
    codes = [(await server.signed(ANN, "POST", "/v1/register", {"hostname": name})).status_code for name in names()]
    assert codes == [200] * (CHANGE_BURST - 1) + [429] * 2  # joining was one too
    endpoint = {"endpoints": ["192.0.2.1:51820"]}
    before = server.mesh.snapshot
    assert (await server.signed(ANN, "POST", "/v1/heartbeat", endpoint)).status_code == 200
    assert server.mesh.snapshot is before  # held back
    for _ in range(CHANGE_BURST + 1):
        assert (await server.signed(ANN, "POST", "/v1/heartbeat", {})).status_code == 200
    assert (await server.signed(BOB, "POST", "/v1/heartbeat", endpoint)).status_code == 200
    await sweep_for(server, 20)
    assert list(map(str, server.mesh.snapshot.record(public_key(ANN)).peer.endpoints)) == ["192.0.2.1:51820"]


async def test_what_is_held_back_of_who_leaves_is_forgotten(server: Server) -> None:
    await server.join(ANN)
    for turn in range(CHANGE_BURST):
        message = {"endpoints": [f"192.0.2.{turn + 1}:1"]}
        assert (await server.signed(ANN, "POST", "/v1/heartbeat", message)).status_code == 200
    assert (await server.signed(ANN, "DELETE", "/v1/peer")).status_code == 200
    revision = server.mesh.snapshot.revision
    await sweep_for(server, 30)
    assert server.mesh.snapshot.revision == revision


async def test_a_write_that_fails_takes_what_was_held_back_to_the_next_heartbeat(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.join(ANN)
    for turn in range(CHANGE_BURST):
        message = {"endpoints": [f"192.0.2.{turn + 1}:1"]}
        await server.signed(ANN, "POST", "/v1/heartbeat", message)

    async def fail(_command: Command) -> Record:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(server.writer, "submit", fail)
        await sweep_for(server, 20)
    before = server.mesh.snapshot
    await sweep_for(server, 20)
    assert server.mesh.snapshot is not before


async def test_comings_and_goings_are_logged_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wireguard_mesh.server.event_log")
    joined = await server.join(ANN)
    await server.join(ANN)
    await sweep_for(server, 140)
    for _ in range(2):
        await server.signed(ANN, "POST", "/v1/heartbeat", {})
    await server.signed(ANN, "DELETE", "/v1/peer")
    who = f"id={joined.peer_id} hostname=host-1 address=10.100.0.1"
    assert [record.message for record in caplog.records] == [
        f"peer joined {who}",
        f"peer is offline {who}",
        f"peer is back {who}",
        f"peer left {who}",
    ]


async def test_a_peer_that_is_gone_is_not_looked_for_again(server: Server) -> None:
    await server.join(1)
    await server.writer.submit(Leave(public_key=public_key(1), signed=True))
    await sweep_for(server, 130)
    assert server.liveness.overdue(server.time.monotonic) == []
    assert server.mesh.last_heard(public_key(1)) == 0.0

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from tests.client.conftest import network_map, until
from tests.samples import private_key, public_key
from wireguard_mesh.client import clock
from wireguard_mesh.client.keeping import Keeper
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.netmap import whole
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import MapUpdate

STATE = ClientState(private_key=private_key(1), server_public_key=public_key(9))
MAP = whole(network_map(2))


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder.at(tmp_path)


def made(folder: StateFolder) -> Keeper:
    folder.save(STATE)
    return Keeper(folder, STATE, clock.now)


def learn(keeper: Keeper, update: MapUpdate = MAP) -> None:
    keeper.known.take(update, None, clock.now())
    keeper.map_changed()


def on_disk(folder: StateFolder) -> MapUpdate | None:
    found = folder.load_map(public_key(1), public_key(9))
    return whole(found) if found else None


async def test_writes_what_changed_soon(folder: StateFolder) -> None:
    keeper = made(folder)
    running = asyncio.create_task(keeper.run())
    keeper.change(peer_id="peer-000001")
    learn(keeper)
    await until(lambda: folder.load() == keeper.state and on_disk(folder) == MAP)
    running.cancel()


async def test_writes_nothing_that_did_not_change(folder: StateFolder) -> None:
    keeper = made(folder)
    before = folder.path.stat().st_mtime_ns
    keeper.change(peer_id="")
    keeper.write()
    assert folder.path.stat().st_mtime_ns == before
    assert on_disk(folder) is None


async def test_a_map_of_an_unknown_server_is_not_kept(folder: StateFolder) -> None:
    state = ClientState(private_key=private_key(1))
    keeper = Keeper(folder, state, clock.now)
    learn(keeper)
    keeper.write()
    assert not folder.map_path.exists()


async def test_a_full_disk_is_said_once_and_tried_again(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("wireguard_mesh.client.keeping._RETRY", 0.01)
    keeper = made(folder)
    save, calls = folder.save, [0]

    def sometimes(state: ClientState) -> None:
        calls[0] += 1
        if calls[0] < 3:
            raise Unavailable("no room")
        save(state)

    monkeypatch.setattr(folder, "save", sometimes)
    running = asyncio.create_task(keeper.run())
    keeper.change(peer_id="peer-000001")
    await until(lambda: keeper.problem == "no room")
    await until(lambda: keeper.problem == "")
    running.cancel()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["no room; going on without", "the state can be written again"]
    assert folder.load() == keeper.state


async def test_a_fault_of_ours_is_said_with_its_place_and_ends_nothing(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = made(folder)

    def broken(_state: ClientState) -> None:
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "save", broken)
        keeper.change(peer_id="peer-000001")
        keeper.write()
        keeper.write()
    assert "ours" in keeper.problem
    assert [record.exc_info is not None for record in caplog.records] == [True]
    keeper.write()
    assert not keeper.problem
    assert folder.load() == keeper.state


async def test_what_is_forgotten_is_not_written_again(folder: StateFolder) -> None:
    keeper = made(folder)
    keeper.change(peer_id="peer-000001")
    learn(keeper)
    keeper.write()
    keeper.forget()
    keeper.write()
    state = folder.load()
    assert state is not None
    assert state.peer_id == ""
    assert not folder.map_path.exists()


async def test_a_slow_disk_makes_nobody_wait(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = made(folder)
    save, entered, release = folder.save, threading.Event(), threading.Event()

    def slow(state: ClientState) -> None:
        entered.set()
        assert release.wait(20)
        save(state)

    monkeypatch.setattr(folder, "save", slow)
    running = asyncio.create_task(keeper.run())
    keeper.change(peer_id="peer-000001")
    await until(entered.is_set)
    keeper.change(peer_id="peer-000002")  # while the first is being written
    release.set()
    await until(lambda: folder.load() == keeper.state)
    running.cancel()


async def test_what_cannot_be_forgotten_is_a_problem_and_no_error(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_state: ClientState) -> None:
        raise Unavailable("no room")

    keeper = made(folder)
    keeper.change(peer_id="peer-000001")
    keeper.write()
    monkeypatch.setattr(folder, "save", full)
    keeper.forget()
    assert keeper.problem == "no room"
    assert keeper.state.peer_id == ""


async def test_begins_with_the_map_of_the_last_run_and_writes_later_ones_seldom(folder: StateFolder) -> None:
    learn(first := made(folder))
    first.write()
    now = 100.0
    keeper = Keeper(folder, STATE, lambda: Instant(now, now))
    assert keeper.known.since == MapVersion("e", 1)
    assert keeper.known.current_at is None
    running = asyncio.create_task(keeper.run())
    maps = {revision: whole(network_map(2, revision=revision)) for revision in (1, 3, 4, 5)}

    async def look(expected: int) -> None:
        """Have it write what it wants to by now: the identity at once, and the map if that is due."""
        for name in (f"at-{now}", f"after-{now}"):  # once the second is there, all of the first writing is
            keeper.change(hostname=name)
            await until(lambda name=name: (state := folder.load()) is not None and state.hostname == name)  # type: ignore[misc]  # mypy cannot infer it
        assert on_disk(folder) == maps[expected]

    learn(keeper, maps[3])
    await look(1)
    now = 103.0
    await look(3)
    learn(keeper, maps[4])
    now = 106.0
    await look(3)
    learn(keeper, maps[5])
    now = 109.0
    await look(5)
    running.cancel()


async def test_a_map_that_found_no_room_is_tried_again(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wireguard_mesh.client.keeping._RETRY", 0.01)
    keeper, faults, save = made(folder), [Unavailable("no room")] * 3, folder.save_map

    def sometimes(*given: object) -> None:
        if faults:
            raise faults.pop()
        save(*given)  # type: ignore[arg-type]  # what the keeper gave

    monkeypatch.setattr(folder, "save_map", sometimes)
    running = asyncio.create_task(keeper.run())
    learn(keeper)
    await until(lambda: on_disk(folder) == MAP)
    running.cancel()

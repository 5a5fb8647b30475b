import asyncio
import signal
from pathlib import Path

import pytest

from tests.client.conftest import RealServer
from tests.samples import private_key
from wireguard_mesh.client import launch
from wireguard_mesh.client.launch import check_privilege
from wireguard_mesh.client.options import AgentOptions, Flags
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import NotPermitted


def test_asks_for_the_capability_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "may_administer", lambda: True)
    check_privilege()
    monkeypatch.setattr(launch, "may_administer", lambda: False)
    with pytest.raises(NotPermitted, match="sudo"):
        check_privilege()


async def test_a_server_is_asked_for_its_key(server: RealServer) -> None:
    first = await launch._key_of(server.address)
    assert await launch._key_of(server.address) == first


def test_the_surroundings_are_the_machines() -> None:
    world = launch.surroundings(None)
    assert len(world.random(32)) == 32
    assert world.wall() > 1_700_000_000
    assert world.ask is None


@pytest.mark.parametrize("has_terminal", [True, False])
async def test_a_terminal_that_closes_ends_only_what_runs_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_terminal: bool
) -> None:
    ended: list[bool] = []

    class Sleeper:
        def __init__(self, *_: object) -> None:
            self._end = asyncio.Event()

        def stop(self) -> None:
            ended.append(True)
            self._end.set()

        async def run(self) -> None:
            signal.raise_signal(signal.SIGHUP)
            for _ in range(10):
                await asyncio.sleep(0)
            if not ended:
                signal.raise_signal(signal.SIGTERM)
            else:
                ended.append(True)
            await self._end.wait()

    monkeypatch.setattr(launch, "Agent", Sleeper)
    monkeypatch.setattr(launch, "_has_terminal", lambda: has_terminal)
    state = ClientState(private_key=private_key(1))
    options = AgentOptions(folder=StateFolder(tmp_path), directory=str(tmp_path), state=state, flags=Flags())
    async with asyncio.timeout(10):
        await launch._run(options)
    assert len(ended) == (2 if has_terminal else 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().remove_signal_handler(number)

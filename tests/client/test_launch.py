from pathlib import Path

import pytest

from tests.client.conftest import RealServer
from wireguard_mesh.client import launch
from wireguard_mesh.client.launch import check_privilege
from wireguard_mesh.model.errors import NotPermitted


@pytest.mark.parametrize(("capabilities", "is_enough"), [("0000000000001000", True), ("0000000000000fff", False)])
def test_asks_for_the_capability_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, capabilities: str, is_enough: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _path: f"Name:\tx\nCapEff:\t{capabilities}\n")
    if is_enough:
        check_privilege()
    else:
        with pytest.raises(NotPermitted, match="sudo"):
            check_privilege()


def test_without_proc_the_attempt_will_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    check_privilege()


async def test_a_server_is_asked_for_its_key(server: RealServer) -> None:
    first = await launch._key_of(server.address)
    assert await launch._key_of(server.address) == first


def test_the_surroundings_are_the_machines() -> None:
    world = launch.surroundings(None)
    assert len(world.random(32)) == 32
    assert world.wall() > 1_700_000_000
    assert world.ask is None

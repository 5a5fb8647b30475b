import os
from pathlib import Path

import pytest

from tests.samples import private_key
from wireguard_mesh.cli.place import Place
from wireguard_mesh.cli.stopping import log_out, take_down
from wireguard_mesh.client.locks import hold_interface
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, InvalidValue, NotPermitted, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.system.fake import FakeSystem

NAME = InterfaceName("wgmt-none")


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    """A machine that has no WireGuard."""
    made = FakeSystem()

    async def none(_name: InterfaceName) -> None:
        raise Unsupported("no WireGuard here")

    monkeypatch.setattr("wireguard_mesh.system.linux.LinuxSystem", lambda _directory: made)
    monkeypatch.setattr("wireguard_mesh.wireguard.choose.choose", none)
    monkeypatch.setattr("wireguard_mesh.client.launch.check_privilege", lambda: None)
    return made


def test_down_without_anything_is_nothing_to_do(
    runtime: Path, system: FakeSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    take_down(Place(runtime, NAME))
    assert "nothing to do" in capsys.readouterr().err


def test_down_without_an_agent_undoes_by_the_journal(runtime: Path, system: FakeSystem) -> None:
    system.owned.add(NAME)
    (runtime / f"{NAME}.sock").touch()
    take_down(Place(runtime, NAME))
    assert NAME not in system.owned
    assert system.closed
    assert not (runtime / f"{NAME}.sock").exists()


def test_down_with_an_identity_that_cannot_be_read(
    runtime: Path, system: FakeSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    (runtime / "client.json").write_text("garbage")
    system.owned.add(NAME)
    take_down(Place(runtime, NAME))
    assert NAME not in system.owned
    assert "cannot be read" in capsys.readouterr().err


def test_down_without_privilege_says_so(runtime: Path, system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NotPermitted("no", "use sudo")

    monkeypatch.setattr("wireguard_mesh.client.launch.check_privilege", refuse)
    with pytest.raises(NotPermitted):
        take_down(Place(runtime, NAME))


def test_logout_without_a_mesh_says_so(runtime: Path, system: FakeSystem) -> None:
    with pytest.raises(InvalidValue, match="no mesh"):
        log_out(Place(runtime, NAME))


def test_logout_of_a_machine_that_never_joined_only_takes_down(runtime: Path, system: FakeSystem) -> None:
    StateFolder(runtime).save(ClientState(private_key=private_key(1)))
    system.owned.add(NAME)
    log_out(Place(runtime, NAME))
    assert NAME not in system.owned


def test_down_leaves_an_agent_alone_that_cannot_be_asked(
    runtime: Path, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is gone, but its lock is held: nothing is taken from under it."""
    monkeypatch.setattr("wireguard_mesh.cli.stopping._AGENT_TIMEOUT", 0.0)
    system.owned.add(NAME)
    with hold_interface(str(runtime), NAME), pytest.raises(Conflict, match=rf"process {os.getpid()}.*kill"):
        take_down(Place(runtime, NAME))
    assert NAME in system.owned


def test_down_waits_for_an_agent_that_ends(runtime: Path, system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    system.owned.add(NAME)
    lock = hold_interface(str(runtime), NAME)
    monkeypatch.setattr("wireguard_mesh.cli.stopping.time.sleep", lambda _seconds: lock.release())
    take_down(Place(runtime, NAME))
    assert NAME not in system.owned

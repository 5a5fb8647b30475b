from pathlib import Path

import pytest

from tests.samples import private_key
from wireguard_mesh.cli.place import Place
from wireguard_mesh.client.state import ClientState
from wireguard_mesh.model.names import InterfaceName

STATE = ClientState(private_key=private_key(1), interface=InterfaceName("mesh0"))


def test_the_default_is_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert Place(None, None).folder.path == Path("/home/ann/.config/wireguard-mesh/client.json")


def test_a_flag_of_the_command_outweighs_one_before_it(tmp_path: Path) -> None:
    outer = Place(tmp_path, "a0")
    assert outer.within(None, None) == outer
    assert outer.within(tmp_path / "x", "b0") == Place(tmp_path / "x", "b0")


def test_the_interface_is_as_given_else_the_identitys_else_the_default() -> None:
    assert Place(None, "a0").interface(STATE) == "a0"
    assert Place(None, None).interface(STATE) == "mesh0"
    assert Place(None, None).interface(None) == "wg0"


def test_the_socket_is_ones_own_else_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = Place(tmp_path / "config", None)
    assert place.socket() == Path("/run/wireguard-mesh/wg0.sock")
    (tmp_path / "wireguard-mesh").mkdir()
    (tmp_path / "wireguard-mesh" / "mesh0.sock").touch()
    place.folder.save(STATE)
    assert place.socket() == tmp_path / "wireguard-mesh" / "mesh0.sock"


def test_an_identity_that_cannot_be_read_hides_no_agent(tmp_path: Path) -> None:
    (tmp_path / "client.json").write_text("garbage")
    assert Place(tmp_path, None).socket().name == "wg0.sock"

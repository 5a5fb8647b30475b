import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from tests.cli.conftest import AnsweringAgent
from tests.protocol.test_local import DIRECT, EXPLANATION, STATUS
from tests.samples import private_key, public_key
from wireguard_mesh.cli import bugreport
from wireguard_mesh.cli.client import cli
from wireguard_mesh.cli.place import Place
from wireguard_mesh.client.state import StateFolder
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import Hostname
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.protocol.status import ExitStatus, NatStatus, ServerStatus, Status

SECRET = private_key(1).to_base64()
PUBLIC = public_key(1).to_base64()
PRIVATE_THINGS = ("secretive", "bobs-laptop", "203.0.113.77", "2001:db8:77::1", "vpn.example.com", "hunter2", "alice")
LOG = (
    f"key={PUBLIC} leaked={SECRET} peer=bobs-laptop at 203.0.113.77:51820 and [2001:db8:77::1]:7\n"
    "the server http://admin:hunter2@vpn.example.com:8080 cannot be reached; see /home/alice/.config/client.log\n"
)


def told() -> Status:
    """The status of a machine about which much is to be hidden."""
    bob, *others = STATUS.peers
    path = PathReport(kind=PathKind.RELAY, endpoint=Endpoint.parse("203.0.113.77:51820"))
    return msgspec.structs.replace(
        STATUS,
        hostname="secretive",
        peers=(msgspec.structs.replace(bob, hostname=Hostname("bobs-laptop"), path=path, online=True), *others),
        exit=ExitStatus(policy="bobs-laptop"),
        server=ServerStatus(address="https://vpn.example.com:443", reachable=True, since=900.0),
        nat=NatStatus(reflexive=(Endpoint.parse("[2001:db8:77::1]:7"),)),
    )


@pytest.fixture
def place(agent: AnsweringAgent) -> Place:
    agent.answer = told()
    StateFolder(agent.folder).log_path.write_text(LOG)
    return Place(agent.folder, None)


def report(place: Place, capsys: pytest.CaptureFixture[str], *, unmasked: bool = False) -> str:
    bugreport.print_report(place, unmasked=unmasked)
    return capsys.readouterr().out


def test_tells_what_is_needed_and_nothing_private(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    text = report(place, capsys)
    for section in ("status", "netcheck", "paths", "log"):
        assert f"\n== {section}\n" in text
    for private in (*PRIVATE_THINGS, SECRET, PUBLIC):
        assert private not in text
    assert "10.100.0.2" in text
    assert "https://name-" in text


def test_the_same_thing_has_the_same_mask(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    text = report(place, capsys)
    log = text.partition("== log")[2]
    mask = log.partition("peer=")[2].split()[0]
    assert mask.startswith("name-")
    assert f"use-exit-node is {mask}" in text


def test_unmasked_it_has_all_but_secrets(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    text = report(place, capsys, unmasked=True)
    assert SECRET not in text
    assert "hunter2" not in text
    for shown in ("secretive", "bobs-laptop", "203.0.113.77", "vpn.example.com", PUBLIC):
        assert shown in text


def test_peers_that_are_not_reached_directly_are_explained(
    agent: AnsweringAgent, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.answer = msgspec.structs.replace(told(), peers=told().peers[:2])
    monkeypatch.setattr(bugreport, "explanation", lambda *_: EXPLANATION)
    monkeypatch.setattr(bugreport, "MAX_EXPLAINED", 1)
    text = report(Place(agent.folder, None), capsys)
    assert "So it is." in text
    assert "and 1 more peers that are not reached directly" in text


def test_nothing_is_explained_where_all_is_well(
    agent: AnsweringAgent, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = tuple(msgspec.structs.replace(peer, path=DIRECT) for peer in STATUS.peers)
    agent.answer = msgspec.structs.replace(STATUS, peers=peers)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    text = report(Place(agent.folder, None), capsys)
    assert "every peer that is online is reached directly" in text
    assert "none that this user may read" in text


def test_prints_also_without_any_mesh(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = report(Place(runtime, None), capsys)
    assert "none: there is no " in text
    assert "not to be had: " in text
    assert report(Place(runtime, None), capsys, unmasked=True)


def test_the_log_of_a_service(
    runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[0] == "/bin/journalctl"
        return subprocess.CompletedProcess(command, 0, stdout="the service said so\n")

    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("subprocess.run", run)
    assert "the service said so" in report(Place(runtime, None), capsys)

    def hang(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 5.0)

    monkeypatch.setattr("subprocess.run", hang)
    assert "none that this user may read" in report(Place(runtime, None), capsys)


def test_the_command(place: Place) -> None:
    words = ["bugreport", "-config", str(place.config)]
    assert "bobs-laptop" not in CliRunner().invoke(cli, words).output
    assert "bobs-laptop" in CliRunner().invoke(cli, [*words, "--unmasked"]).output

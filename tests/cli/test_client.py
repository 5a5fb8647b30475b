"""The commands of vpn-client, against an agent that only answers."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.cli.conftest import AnsweringAgent
from tests.protocol.test_local import STATUS
from tests.samples import private_key
from wireguard_mesh import __version__
from wireguard_mesh.cli.client import cli
from wireguard_mesh.client.local_client import AgentRefused
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, NotFound
from wireguard_mesh.protocol import local


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_help_names_every_command() -> None:
    text = run("-help").output
    names = "up down status ping explain netcheck ip set exit-node logout bugreport version"
    for name in names.split():
        assert f"\n  {name} " in text


def test_version() -> None:
    assert __version__ in run("-version").output
    assert run("version").output == f"{__version__}\n"


@pytest.mark.parametrize("flag", ["-status", "--status"])
def test_the_plain_status_is_json_of_fixed_fields(agent: AnsweringAgent, flag: str) -> None:
    agent.answer = STATUS
    found = json.loads(run("-config", str(agent.folder), flag).output)
    assert list(found) == ["peer_id", "assigned_ip", "network", "public_key", "interface"]
    assert list(found["interface"]) == ["name", "num_peers", "peers"]


def test_status_for_people_and_for_programs(agent: AnsweringAgent) -> None:
    agent.answer = STATUS
    assert "10.100.0.2" in run("status", "-config", str(agent.folder)).output
    found = json.loads(run("-config", str(agent.folder), "status", "--json").output)
    assert (found["version"], found["state"], len(found["peers"])) == (1, "up", 3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ip"], "10.100.0.1\nfd01:2345:6789::1\n"),
        (["ip", "-4"], "10.100.0.1\n"),
        (["ip", "-6", "host-2"], "fd01:2345:6789::2\n"),
        (["ip", "peer-000003", "-4"], "10.100.0.3\n"),
        (["ip", "-4", "-6"], "10.100.0.1\nfd01:2345:6789::1\n"),
        (["ip", "peer-000001", "-4"], "10.100.0.1\n"),
    ],
)
def test_addresses(agent: AnsweringAgent, words: list[str], expected: str) -> None:
    agent.answer = STATUS
    assert run("-config", str(agent.folder), *words).output == expected


@pytest.mark.parametrize(("command", "request_"), [("down", local.DownRequest()), ("logout", local.LogoutRequest())])
def test_the_agent_ends_itself(agent: AnsweringAgent, command: str, request_: local.Request) -> None:
    run("-config", str(agent.folder), command)
    assert agent.requests == [request_]


def test_set(agent: AnsweringAgent) -> None:
    run("-config", str(agent.folder), "set", "-use-exit-node", "off", "--no-exit-node", "-hostname", "two")
    assert agent.requests == [local.SetRequest(use_exit_node="off", exit_node=False, hostname="two")]


def test_set_nothing_is_a_usage_error(agent: AnsweringAgent) -> None:
    run("-config", str(agent.folder), "set", code=2)
    assert agent.requests == []


def test_the_agents_no_is_an_error(agent: AnsweringAgent) -> None:
    agent.answer = local.Refused(code="c", error="not you", hint="use sudo")
    result = run("-config", str(agent.folder), "set", "-hostname", "two", code=1)
    assert isinstance(result.exception, AgentRefused)


@pytest.mark.parametrize("command", ["down", "logout", "status", "set -hostname x"])
def test_an_identity_that_is_not_there_is_nobody_elses_agent(
    agent: AnsweringAgent, tmp_path: Path, command: str
) -> None:
    result = run("-config", str(tmp_path / "other.json"), *command.split(), code=1)
    assert isinstance(result.exception, NotFound)
    assert agent.requests == []


@pytest.mark.parametrize("command", ["down", "logout", "status", "set -hostname x"])
def test_an_agent_of_another_identity_is_not_asked(agent: AnsweringAgent, tmp_path: Path, command: str) -> None:
    StateFolder(tmp_path, "other.json").save(ClientState(private_key=private_key(2)))
    result = run("-config", str(tmp_path / "other.json"), *command.split(), code=1)
    assert isinstance(result.exception, Conflict)
    assert "another identity" in str(result.exception)
    assert agent.requests == []


def test_what_the_agent_has_to_say_is_said(agent: AnsweringAgent) -> None:
    agent.answer = local.Done(note="no room")
    assert "no room" in run("-config", str(agent.folder), "logout").output


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("-hostname foo status", "-hostname"),
        ("-exit-node -mtu 1300 exit-node list", "-exit-node, -mtu"),
        ("-status status", "-status"),
        ("-status up", "-status"),
    ],
)
def test_flags_before_a_command_that_has_no_use_for_them_are_refused(
    agent: AnsweringAgent, words: str, named: str
) -> None:
    result = run("-config", str(agent.folder), *words.split(), code=2)
    assert f"{named} has no effect before" in result.output
    assert agent.requests == []


def test_exit_nodes_for_programs(agent: AnsweringAgent) -> None:
    node = msgspec.structs.replace(STATUS.peers[0], exit_node=True)
    agent.answer = msgspec.structs.replace(STATUS, peers=(node, *STATUS.peers[1:]))
    found = json.loads(run("-config", str(agent.folder), "exit-node", "list", "-json").output)
    assert [one["hostname"] for one in found] == ["host-2"]


def test_exit_nodes(agent: AnsweringAgent) -> None:
    agent.answer = STATUS
    assert "no peer offers" in run("-config", str(agent.folder), "exit-node", "list").output


def test_without_agent_and_identity_it_says_how_to_join(runtime: Path) -> None:
    result = run("-config", str(runtime), "-status", code=1)
    assert "vpn-client -server" in str(result.exception)


def test_without_a_server_it_says_so(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wireguard_mesh.client.launch.check_privilege", lambda: None)
    result = run("-config", str(runtime), code=1)
    assert "-server" in str(result.exception)
    assert not (runtime / "client.json").exists()

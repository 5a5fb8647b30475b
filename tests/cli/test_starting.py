import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.cli.conftest import AnsweringAgent
from tests.protocol.test_local import STATUS
from tests.samples import private_key
from wireguard_mesh.cli import starting
from wireguard_mesh.cli.client import cli
from wireguard_mesh.client.locks import alone
from wireguard_mesh.client.options import AgentOptions
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, MeshError, Unavailable
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.status import ServerStatus, State

ANSWER = """
import socket, sys, time
print("12:00:00 starting", file=sys.stderr)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(bytes.fromhex(sys.argv[2]))
    connection.close()
"""


@pytest.fixture(autouse=True)
def privileged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wireguard_mesh.client.launch.check_privilege", lambda: None)


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def become(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[list[str]]:
    """Let the agent in the background be another program; returns what it would have been."""
    meant: list[list[str]] = []

    def command(*given: Any) -> list[str]:
        meant.append(original(*given))
        return [sys.executable, *words]

    original = starting._command
    monkeypatch.setattr(starting, "_command", command)
    return meant


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ends the programs that were started."""
    processes: list[subprocess.Popen[bytes]] = []
    original = subprocess.Popen

    def popen(*given: Any, **more: Any) -> subprocess.Popen[bytes]:
        processes.append(original(*given, **more))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_in_the_foreground_the_agent_gets_identity_and_flags(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[AgentOptions] = []
    monkeypatch.setattr("wireguard_mesh.client.launch.run", ran.append)
    result = run(
        "-config", str(runtime), "-server", "http://x", "-exit-node", "-keepalive", "0", "-sync-interval", "5s",
        "-port-mapping", "off",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (options,) = ran
    assert (str(options.state.server), options.state.exit_node) == ("http://x:8080", True)
    assert (options.flags.keepalive, options.flags.intervals.sync) == (0, 5.0)
    assert not options.flags.port_mapping
    assert (runtime / "client.json").stat().st_mode & 0o777 == 0o600


def test_in_the_background_it_returns_when_the_mesh_is_up(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    line = (encode(STATUS) + b"\n").hex()
    meant = become(monkeypatch, "-c", ANSWER, str(runtime / "wg0.sock"), line)
    monkeypatch.setattr("sys.argv", ["/usr/bin/vpn-client", "up"])
    result = run("up", "-config", str(runtime), "-server", "http://x", "-mtu", "1300")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "10.100.0.1" in result.output
    (words,) = meant
    assert words[:2] == [sys.executable, "/usr/bin/vpn-client"]
    assert words[words.index("-mtu") + 1] == "1300"
    assert words[words.index("-config") + 1] == str(runtime / "client.json")
    assert "-listen-port" not in words
    assert (runtime / "client.log").stat().st_mode & 0o777 == 0o600
    assert started[0].poll() is None


def test_an_agent_that_ends_says_why(runtime: Path, monkeypatch: pytest.MonkeyPatch, started: object) -> None:
    (runtime / "client.log").write_text("vpn-client: something of yesterday\n")
    words = "import sys; print('vpn-client: UDP port 51820 is in use', file=sys.stderr); sys.exit(1)"
    become(monkeypatch, "-c", words)
    result = run("up", "-config", str(runtime), "-server", "http://x")
    assert isinstance(result.exception, MeshError)
    assert str(result.exception) == "UDP port 51820 is in use"
    become(monkeypatch, "-c", "import sys; sys.exit(3)")
    assert "code 3" in str(run("up", "-config", str(runtime)).exception)


def test_a_mesh_that_does_not_come_up_is_said_with_the_reason(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, started: object
) -> None:
    server = ServerStatus(address="http://x", problem="the server cannot be reached")
    joining = msgspec.structs.replace(STATUS, state=State.JOINING, server=server)
    become(monkeypatch, "-c", ANSWER, str(runtime / "wg0.sock"), (encode(joining) + b"\n").hex())
    result = run("up", "-config", str(runtime), "-server", "http://x", "-timeout", "1.5")
    assert isinstance(result.exception, Unavailable)
    assert "the server cannot be reached" in str(result.exception)
    assert "client.log" in str(result.exception)


def test_a_second_one_is_refused(agent: AnsweringAgent) -> None:
    agent.answer = msgspec.structs.replace(STATUS, pid=42)
    result = run("up", "-config", str(agent.folder), "-server", "http://x")
    assert isinstance(result.exception, Conflict)
    assert "42" in str(result.exception)


def test_a_long_log_is_started_anew(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "MAX_LOG", 10)
    log = runtime / "client.log"
    log.write_text("x" * 11)
    assert starting._prepare_log(log) == 0
    assert (log.stat().st_size, (runtime / "client.log.old").stat().st_size) == (0, 11)
    log.write_text("y")
    assert starting._prepare_log(log) == 1
    with pytest.raises(Unavailable):
        starting._prepare_log(runtime / "no" / "client.log")


@pytest.mark.parametrize("command", [[], ["up"]])
@pytest.mark.parametrize("flags", [["-exit-node"], ["-new-identity"], ["-interface", "wg5"], ["-listen-port", "7"]])
def test_a_start_that_is_refused_changes_nothing(
    runtime: Path, command: list[str], flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wireguard_mesh.client.launch.run", lambda _options: pytest.fail("an agent was started"))
    folder = StateFolder(runtime)
    folder.save(ClientState(private_key=private_key(1), server=ServerAddress.parse("http://x")))
    before = {path.name: path.read_bytes() for path in runtime.iterdir()}
    with alone(str(runtime), InterfaceName("wg0"), folder):
        result = run(*command, "-config", str(runtime), *flags)
    assert isinstance(result.exception, Conflict)
    after = {path.name: path.read_bytes() for path in runtime.iterdir() if path.suffix != ".lock"}
    assert after == before


@pytest.mark.parametrize(
    ("words", "hostname"),
    [
        (["-hostname", "a", "up"], "a"),
        (["up", "-hostname", "b"], "b"),
        (["-hostname", "a", "up", "-hostname", "b"], "b"),
        (["up"], "c"),
    ],
)
def test_flags_before_up_are_its_own(
    runtime: Path, words: list[str], hostname: str, monkeypatch: pytest.MonkeyPatch, started: object
) -> None:
    become(monkeypatch, "-c", "")
    monkeypatch.setenv("VPN_CLIENT_HOSTNAME", "c")
    run("-config", str(runtime), "-server", "http://x", "-exit-node", *words)
    state = StateFolder(runtime).load()
    assert state is not None
    assert (state.hostname, state.exit_node) == (hostname, True)


def test_an_agent_that_does_not_answer_yet_is_waited_for(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, started: object
) -> None:
    """It closes its first connection without a word, then ends: what it said is told, not that."""
    mute = "\n".join(
        [
            "import socket, sys",
            "listener = socket.socket(socket.AF_UNIX)",
            "listener.bind(sys.argv[1])",
            "listener.listen()",
            "listener.accept()[0].close()",
            "sys.exit('vpn-client: the port is in use')",
        ]
    )
    become(monkeypatch, "-c", mute, str(runtime / "wg0.sock"))
    result = run("up", "-config", str(runtime), "-server", "http://x")
    assert str(result.exception) == "the port is in use"

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.cli.conftest import AnsweringAgent, leave_mesh
from tests.protocol.test_local import EXPLANATION, NETCHECK, PONG
from tests.samples import peer
from wireguard_mesh.cli.client import cli
from wireguard_mesh.cli.diagnosing import PingOptions, current_netcheck, ping_peer
from wireguard_mesh.cli.place import Place
from wireguard_mesh.client.local_client import NoAgent
from wireguard_mesh.model.errors import InvalidValue, NotFound
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.diagnosis import Netcheck, Pong
from wireguard_mesh.protocol.status import PortMapping

BY_RELAY = msgspec.structs.replace(PONG, path=PathReport(kind=PathKind.RELAY, relay=OWN_RELAY))
LOST = msgspec.structs.replace(PONG, milliseconds=None)


@dataclass
class Sleeps:
    """Waits for nothing; at each wait the agent's next answer is put in place."""

    agent: AnsweringAgent
    answers: list[Pong] = field(default_factory=list)
    waits: int = 0

    def __call__(self, _seconds: float) -> None:
        self.waits += 1
        if self.answers:
            self.agent.answer = self.answers.pop(0)


def options(count: int | None = None, *, until_direct: bool = False, is_ipv6: bool = False) -> PingOptions:
    return PingOptions(count, 1.0, is_ipv6=is_ipv6, until_direct=until_direct)


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def code_of(do: Callable[[], None]) -> int:
    try:
        do()
    except click.exceptions.Exit as error:
        return error.exit_code
    return 0


def test_pings_until_the_count(agent: AnsweringAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.answer = BY_RELAY
    sleeps = Sleeps(agent, [PONG])
    assert code_of(lambda: ping_peer(Place(agent.folder, None), "host-2", options(3, is_ipv6=True), sleeps)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("time=1.5 ms via relay server")
    assert lines[1].endswith("via direct 192.0.2.3:51820")
    assert lines[3] == "3 sent, 3 answered, 0% lost"
    assert sleeps.waits == 2
    assert agent.requests == [
        local.PingRequest(peer=peer(2).id, timeout=1.0, is_ipv6=True, sequence=number) for number in (1, 2, 3)
    ]


def test_no_answer_at_all_is_an_error(agent: AnsweringAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.answer = LOST
    assert code_of(lambda: ping_peer(Place(agent.folder, None), "host-2", options(), Sleeps(agent))) == 1
    assert capsys.readouterr().err == "nothing came back; why: vpn-client explain host-2\n"
    assert len(agent.requests) == 4


def test_until_direct_stops_there(agent: AnsweringAgent) -> None:
    agent.answer = LOST
    sleeps = Sleeps(agent, [BY_RELAY, PONG])
    assert code_of(lambda: ping_peer(Place(agent.folder, None), "host-2", options(until_direct=True), sleeps)) == 0
    assert len(agent.requests) == 3


def test_until_direct_gives_up(agent: AnsweringAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.answer = BY_RELAY
    wanted = options(until_direct=True)
    assert code_of(lambda: ping_peer(Place(agent.folder, None), "host-2", wanted, Sleeps(agent))) == 1
    assert len(agent.requests) == 10
    assert "vpn-client explain host-2" in capsys.readouterr().err


def test_who_has_seen_enough_gets_the_summary(agent: AnsweringAgent, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    agent.answer = PONG
    assert code_of(lambda: ping_peer(Place(agent.folder, None), "host-2", options(), interrupt)) == 0
    assert "1 sent, 1 answered" in capsys.readouterr().out


def test_this_machine_is_no_peer(agent: AnsweringAgent) -> None:
    with pytest.raises(InvalidValue, match="this machine itself"):
        ping_peer(Place(agent.folder, None), "10.100.0.1", options())


def test_the_commands(agent: AnsweringAgent) -> None:
    agent.answer = PONG
    output = run("ping", "-config", str(agent.folder), "-c", "1", "-timeout", "0.5", "host-2").output
    assert "via direct 192.0.2.3:51820" in output
    agent.answer = EXPLANATION
    assert "So it is." in run("explain", "-config", str(agent.folder), "host-2").output
    assert json.loads(run("explain", "-config", str(agent.folder), "--json", "host-2").output)["summary"] == "So it is."
    agent.answer = NETCHECK
    assert "UDP           works" in run("netcheck", "-config", str(agent.folder)).output
    assert json.loads(run("netcheck", "-config", str(agent.folder), "-json").output)["udp"] == "works"
    assert agent.requests[:2] == [
        local.PingRequest(peer=peer(2).id, timeout=0.5, sequence=1),
        local.ExplainRequest(peer(2).id),
    ]


@pytest.fixture
def alone(runtime: Path) -> Place:
    """A machine of a mesh, with no agent."""
    leave_mesh(runtime)
    return Place(runtime, None)


def test_without_an_agent_the_last_map_explains(alone: Place, runtime: Path) -> None:
    output = run("explain", "-config", str(runtime), "host-2").output
    assert "No agent runs here" in output
    assert "Start the agent here: vpn-client up" in output


def test_without_an_agent_nobody_pings(alone: Place) -> None:
    with pytest.raises(NoAgent):
        ping_peer(alone, "host-2", options())


def test_without_an_agent_the_network_is_tried_by_ourselves(alone: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def try_port_mapping() -> PortMapping:
        return PortMapping(problem="this machine's own router is not asked")

    monkeypatch.setattr("wireguard_mesh.client.netcheck.try_port_mapping", try_port_mapping)
    found = current_netcheck(alone)
    assert isinstance(found, Netcheck)
    assert not found.web.reachable
    assert "no relay" in found.problems[0]


def test_without_any_mesh(runtime: Path) -> None:
    with pytest.raises(NotFound, match="in no mesh"):
        current_netcheck(Place(runtime, None))

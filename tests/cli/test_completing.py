from pathlib import Path

import msgspec
import pytest
from click.shell_completion import ShellComplete

from tests.cli.conftest import AnsweringAgent
from tests.protocol.test_local import STATUS
from wireguard_mesh.cli.client import PROGRAM, cli


def offered(words: list[str], begun: str) -> list[str]:
    """What a shell would offer after these words."""
    shell = ShellComplete(cli, {}, PROGRAM, "_VPN_CLIENT_COMPLETE")
    return [item.value for item in shell.get_completions(words, begun)]


@pytest.mark.parametrize("command", ["ping", "explain", "ip"])
def test_peers_are_offered_by_name(agent: AnsweringAgent, command: str) -> None:
    agent.answer = STATUS
    assert offered([command, "-config", str(agent.folder)], "HOST-") == ["host-2", "host-3", "host-4"]
    assert offered(["-config", str(agent.folder), command], "host-3") == ["host-3"]


def test_an_agent_without_peers_offers_none(agent: AnsweringAgent) -> None:
    agent.answer = msgspec.structs.replace(STATUS, peers=())
    assert offered(["ping", "-config", str(agent.folder)], "") == []


def test_without_an_agent_nothing_is_offered(runtime: Path) -> None:
    assert offered(["explain", "-config", str(runtime)], "") == []


def test_commands_are_offered() -> None:
    assert {"explain", "netcheck", "ping"} <= set(offered([], ""))

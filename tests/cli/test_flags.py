import contextlib
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.cli.flags import agent_flags, parse_duration, place_flags
from wireguard_mesh.model.errors import InvalidValue

found: dict[str, Any] = {}


@click.command(context_settings={"auto_envvar_prefix": None})
@agent_flags
@place_flags
def command(**given: Any) -> None:
    found.clear()
    found.update(given)


def parse(*words: str, **environment: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, words, env=environment)
    assert result.exit_code == 0, result.output
    return dict(found)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30.0), ("30s", 30.0), ("1500ms", 1.5), ("2m", 120.0), ("1h", 3600.0), ("0.5m", 30.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.text(max_size=8))
def test_other_durations_are_refused(text: str) -> None:
    with contextlib.suppress(InvalidValue):
        assert 1 <= parse_duration(text) <= 86400


@pytest.mark.parametrize("dash", ["-", "--"])
def test_one_dash_or_two(dash: str) -> None:
    given = parse(f"{dash}server", "http://x/", f"{dash}exit-node", f"{dash}listen-port", "0", f"{dash}interface", "m0")
    assert (str(given["server"]), given["exit_node"]) == ("http://x:8080", True)
    assert (given["listen_port"], given["interface"]) == (0, "m0")


def test_defaults() -> None:
    given = parse()
    assert {name: given[name] for name in ("server", "exit_node", "use_exit_node", "listen_port", "hostname")} == (
        dict.fromkeys(("server", "exit_node", "use_exit_node", "listen_port", "hostname"))
    )
    assert (given["heartbeat_interval"], given["sync_interval"], given["keepalive"]) == (30.0, 60.0, 25)


def test_the_environment_serves_too_and_a_flag_outweighs_it() -> None:
    environment = {"VPN_CLIENT_SERVER": "http://x", "VPN_CLIENT_EXIT_NODE": "1", "VPN_CLIENT_LISTEN_PORT": "1"}
    given = parse("-listen-port", "2", **environment)
    assert (str(given["server"]), given["exit_node"], given["listen_port"]) == ("http://x:8080", True, 2)


def test_no_exit_node_is_not_the_same_as_not_given() -> None:
    assert parse("-no-exit-node")["exit_node"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["-server", "ftp://x"],
        ["-interface", "a/b"],
        ["-use-exit-node", ""],
        ["-hostname", "no name"],
        ["-listen-port", "65536"],
        ["-mtu", "10"],
        ["-heartbeat-interval", "0"],
        ["-backend", "magic"],
    ],
)
def test_nonsense_is_a_usage_error(words: list[str]) -> None:
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2

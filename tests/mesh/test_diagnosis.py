"""What an administrator is told of paths, with real NATs: by which path pings go, why, and what the network lets
through."""

import json

import pytest

from lab import Lab
from lab.mesh import Client
from lab.wide_mesh import WideMesh, wait_for_path
from wireguard_mesh.model.paths import PathKind

pytestmark = pytest.mark.lab

_NOBODY = "65534"  # Debian's
_AS_NOBODY = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")


@pytest.fixture
def wide(lab: Lab) -> WideMesh:
    """A server in the internet."""
    return WideMesh(lab)


def told(client: Client, *words: str, code: int = 0) -> str:
    """What a command says on the client's machine."""
    done = client.host.run("vpn-client", *words, check=False)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


def test_two_easy_nats(wide: WideMesh) -> None:
    one, other = wide.join("one", "easy"), wide.join("other", "easy")
    said = told(one, "ping", "--until-direct", "other")
    assert f"via direct {other_address(one)}" in said
    wait_for_path(one, other, PathKind.DIRECT)
    assert f"direct {other_address(one)}" in told(one, "status")
    explained = json.loads(told(one, "explain", "--json", "other"))
    assert (explained["nat"], explained["peer_nat"], explained["path"]["kind"]) == ("easy", "easy", "direct")
    assert explained["advice"] == []
    assert "via direct" in told(one, "ping", "-6", "-c", "1", "other")


def other_address(client: Client) -> str:
    """Where the one other peer of the client is reached, by its agent."""
    (peer,) = json.loads(told(client, "status", "--json"))["peers"]
    endpoint = peer["path"]["endpoint"]
    assert isinstance(endpoint, str)
    return endpoint


def test_two_hard_nats(wide: WideMesh) -> None:
    one, other = wide.join("one", "hard"), wide.join("other", "hard")
    wait_for_path(one, other, PathKind.RELAY)
    said = told(one, "ping", "--until-direct", "-c", "3", "other", code=1)
    assert "via relay server" in said
    assert "3 sent, 3 answered, 0% lost" in said
    explained = json.loads(told(one, "explain", "--json", "other"))
    assert "Both ends are behind hard NATs" in explained["why"][0]
    assert "port mapping" in explained["advice"][0]
    found = json.loads(told(one, "netcheck", "--json"))
    assert (found["udp"], found["nat"], found["wireguard"]["kind"]) == ("works", "hard", "hard")
    assert len({check["mapped"] for check in found["vantage_points"]}) == len(found["vantage_points"])


def test_udp_is_blocked(wide: WideMesh) -> None:
    blocked, other = wide.join("blocked", "udp-blocked"), wide.join("other", "easy")
    wait_for_path(blocked, other, PathKind.RELAY)
    assert "via relay server" in told(blocked, "ping", "-c", "1", "other")
    found = json.loads(told(blocked, "netcheck", "--json"))
    assert (found["udp"], found["web"]["websocket"]) == ("blocked", True)
    assert "No relay answers blocked by UDP" in told(other, "explain", "blocked")
    # A WebSocket that carries packets is not taken from it by one that is opened to try.
    assert "via relay server" in told(blocked, "ping", "-c", "1", "other")


def test_users_without_privileges_may_ask(wide: WideMesh) -> None:
    one = wide.join("one", "easy")
    wide.join("other", "easy")
    for words in (("ping", "-c", "1", "other"), ("explain", "other"), ("netcheck",), ("status",)):
        done = one.host.run(*_AS_NOBODY, "vpn-client", *words, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    refused = one.host.run(*_AS_NOBODY, "vpn-client", "down", check=False)
    assert "root" in refused.stderr


def test_without_an_agent_the_last_map_is_enough(wide: WideMesh) -> None:
    one, other = wide.join("one", "easy"), wide.join("other", "easy")
    wait_for_path(one, other, PathKind.DIRECT)
    one.process.terminate()
    found = json.loads(told(one, "netcheck", "--json"))
    assert (found["udp"], found["nat"], found["web"]["websocket"]) == ("works", "easy", True)
    assert "No agent runs here" in told(one, "explain", "other")
    assert "no agent runs" in one.host.run("vpn-client", "ping", "other", check=False).stderr


def test_a_report_names_nobody(wide: WideMesh) -> None:
    one, other = wide.join("annas-laptop", "hard"), wide.join("berts-desktop", "hard")
    wait_for_path(one, other, PathKind.RELAY)
    told(one, "ping", "--until-direct", "-c", "2", "berts-desktop", code=1)  # by when all was tried a few times
    report = told(one, "bugreport")
    assert "Both ends are behind hard NATs" in report
    state = json.loads(one.host.run("sh", "-c", "cat ~/.config/wireguard-mesh/client.json").stdout)
    for private in ("annas", "berts", "203.0.113.", state["private_key"], state["public_key"]):
        assert private not in report, private
    assert state["private_key"] not in told(one, "bugreport", "--unmasked")

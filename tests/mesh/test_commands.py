"""Commands that come at an awkward moment, or twice, with real programs."""

import json
import signal

import pytest

from lab.mesh import INTERFACE, Client, Mesh, interface_addresses

pytestmark = pytest.mark.lab

_IDENTITY = "~/.config/wireguard-mesh/client.json"


def _names(client: Client) -> list[str]:
    found = json.loads(client.host.run("vpn-client", "status", "--json").stdout)
    return [peer["hostname"] for peer in found["peers"]]


def _decided(client: Client) -> dict[str, object]:
    """The identity without what the agent itself learns and writes."""
    found = json.loads(client.host.path(_IDENTITY).read_text())
    return {name: found[name] for name in found.keys() - {"peer_id", "assigned_ip", "server_public_key", "server_ips"}}


def test_who_logs_out_is_gone_for_good(mesh: Mesh) -> None:
    one, other = mesh.join("one", "two")
    for _ in range(3):
        other.host.run("vpn-client", "logout")
        assert other.process.wait(20) == 0
        assert "registering again" not in other.process.output()
        assert _names(one) == []
        other.start()
        other.addresses()


def test_a_second_start_is_refused_and_changes_nothing(mesh: Mesh) -> None:
    (one,) = mesh.join("one")
    before = _decided(one)
    for words in (
        ["-exit-node"],
        ["up", "-listen-port", "7777"],
        ["-interface", "wg5"],
        ["-new-identity"],
        ["-server", "http://192.0.2.77:1", "-force"],
    ):
        done = one.host.run("vpn-client", *words, check=False)
        assert done.returncode == 1
        assert "runs already" in done.stderr
        assert _decided(one) == before
    assert one.process.running


def test_down_leaves_a_live_agent_alone_whose_socket_is_gone(mesh: Mesh) -> None:
    (one,) = mesh.join("one")
    one.host.path(f"/run/wireguard-mesh/{INTERFACE}.sock").unlink()
    done = one.host.run("vpn-client", "down", check=False)
    assert done.returncode == 1
    assert "kill" in done.stderr
    assert interface_addresses(one.host)
    one.process.signal(signal.SIGTERM)
    assert one.process.wait(20) == 0


def test_another_identity_is_not_the_usual_agents(mesh: Mesh) -> None:
    one, other = mesh.join("one", "two")
    done = one.host.run("vpn-client", "-config", "/tmp/other.json", "logout", check=False)
    assert done.returncode == 1
    assert "no mesh" in done.stderr
    assert one.process.running
    assert _names(other) == ["one"]


def test_no_other_user_can_keep_it_from_starting(mesh: Mesh) -> None:
    (one,) = mesh.join("one")
    done = one.host.run(
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "flock",
        f"/run/wireguard-mesh/{INTERFACE}.lock",
        "true",
        check=False,
    )
    assert done.returncode != 0
    assert "Permission denied" in done.stderr

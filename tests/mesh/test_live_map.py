"""Changes reach real agents by the stream, after everything that happens to it, and without it where it cannot be."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab.mesh import INTERFACE, PORT, Client, Mesh

pytestmark = pytest.mark.lab

_DETAILED = ("-log-level", "debug")
_DEADLINE = 20.0  # seconds
_NONE = "(none)"  # wg's word for no allowed IPs


def _status(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(client.host.run("vpn-client", "status", "-json").stdout)
    return found


def _by(client: Client, source: str) -> dict[str, Any]:
    """Its status, once changes come to it in that way."""
    deadline = time.monotonic() + _DEADLINE
    while (status := _status(client))["map"]["source"] != source:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def _knows(client: Client, other: Client) -> None:
    """Wait until WireGuard here has the other as a peer."""
    key = other.host.run("wg", "show", INTERFACE, "public-key").stdout.strip()
    deadline = time.monotonic() + _DEADLINE
    while key not in client.host.run("wg", "show", INTERFACE, "peers").stdout:
        assert time.monotonic() < deadline, client.process.output()
        time.sleep(0.02)


def test_a_newcomer_and_one_that_leaves_are_one_change_by_stream(mesh: Mesh) -> None:
    one, other = mesh.join("one", "two", flags=_DETAILED)
    for client in (one, other):
        assert _by(client, "stream")["map"]["lag"] == 0
    marks = {client: len(client.process.output()) for client in (one, other)}
    (third,) = mesh.join("three")
    for client, mark in marks.items():
        _knows(client, third)
        client.process.wait_for("stage=update kind=delta", after=mark)
    assert mesh.unreachable() == []
    marks = {client: len(client.process.output()) for client in (one, other)}
    third.host.run("vpn-client", "logout")
    for client, mark in marks.items():
        client.process.wait_for("stage=(news|applied) peers=1", after=mark)
        lines = client.host.run("wg", "show", INTERFACE, "allowed-ips").stdout.splitlines()
        assert len([line for line in lines if not line.endswith(_NONE)]) == 1, "besides vantage points of relays"
        assert "kind=snapshot" not in client.process.output()[mark:]


def test_an_agent_that_restarts_goes_on_from_what_it_had(mesh: Mesh) -> None:
    one, other = mesh.join("one", "two")
    _knows(one, other)
    assert one.process.terminate() == 0
    (third,) = mesh.join("three")
    one.start(*_DETAILED).wait_for("mesh is up", timeout=_DEADLINE)
    _knows(one, third)
    _by(one, "stream")
    assert "stage=update kind=delta" in one.process.output()
    assert "kind=snapshot" not in one.process.output()
    assert mesh.unreachable() == []


def test_a_server_that_is_killed_is_found_again_and_tells_only_what_changed(mesh: Mesh) -> None:
    one, other = mesh.join("one", "two", flags=_DETAILED)
    for client in (one, other):
        _by(client, "stream")
    marks = {client: len(client.process.output()) for client in (one, other)}
    mesh.server.process.kill()
    killed = time.time()
    for client in (one, other):
        lost = _by(client, "none")["map"]
        assert 0 < lost["current"] <= killed  # nothing says any more that it is current
        assert lost["lag"] == 0
    mesh.server.restart()
    (third,) = mesh.join("three")
    for client, mark in marks.items():
        _knows(client, third)
        _by(client, "stream")
        assert "kind=snapshot" not in client.process.output()[mark:]
        assert "Traceback" not in client.process.output()
    assert mesh.unreachable() == []


def test_behind_a_proxy_that_holds_streams_back_changes_are_asked_for(mesh: Mesh) -> None:
    proxy = mesh.lab.host("proxy", mesh.lan)
    program = Path(__file__).with_name("buffering_proxy.py")
    proxy.start(sys.executable, program, PORT, mesh.server.host.ipv4, PORT).wait_for("ready")
    url = f"http://{proxy.ipv4}:{PORT}"
    for name in ("one", "two"):
        client = Client(mesh.lab.host(name, mesh.lan), mesh.server, "-sync-interval", "1s", url=url)
        client.addresses()
        mesh.clients.append(client)
    one, other = mesh.clients
    for client in (one, other):
        status = _by(client, "polling")
        assert status["map"]["problem"]
        assert status["server"]["reachable"]
    _knows(one, other)
    assert mesh.unreachable() == []
    assert "changes are asked for" in one.host.run("vpn-client", "status").stdout
    (third,) = mesh.join("three")
    assert _by(third, "stream")
    _knows(one, third)
    assert one.process.output().count("changes do not come by stream") == 1

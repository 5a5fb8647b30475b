"""The mesh on WireGuard of the kernel: real server, real agents, slow and lossy lines, hours of virtual time.

Sleeping costs nothing here, so the tests sleep where others poll.
"""

import json
import time
from collections.abc import Callable

import pytest

from lab import Host, Lab
from lab.mesh import INTERFACE, Mesh
from lab.probe import Probe

_HOUR = 3600
_REKEY_AFTER_TIME = 120
_REJECT_AFTER_TIME = 180
"""Seconds; WireGuard paper, section 6.1."""
_OFFLINE_AFTER = 120
_SYNC = 60
"""Seconds; what the server and the agent do by default."""
_NONE = "(none)"  # wg's word for no allowed IPs
_MANY = 1000

_REGISTER_MANY = """
import base64, http.client, json, os, sys
connection = http.client.HTTPConnection("127.0.0.1", 8080)
for number in range(int(sys.argv[1])):
    peer = {
        "public_key": base64.b64encode(os.urandom(32)).decode(), "hostname": f"fake-{number}", "os": "linux",
        "endpoint": f"198.51.100.7:{1000 + number}", "request_ip": True, "exit_node": False,
    }
    connection.request("POST", "/register", json.dumps(peer), {"content-type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200 or not json.load(answer)["success"]:
        sys.exit(f"{number}: {answer.status}")
"""


def _eventually(condition: Callable[[], bool], within: float) -> bool:
    """Whether it comes true in so many seconds inside."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def _kind(host: Host) -> str:
    """Which kind of link the mesh's interface is."""
    (link,) = json.loads(host.run("ip", "-json", "-detail", "link", "show", INTERFACE).stdout)
    kind: str = link["linkinfo"]["info_kind"]
    return kind


def _handshakes(host: Host) -> dict[str, int]:
    """The Unix time of the last handshake with each member of the mesh, by public key; 0 for never. Vantage points of
    relays have no allowed IPs."""
    allowed = _shown(host, "allowed-ips")
    return {
        key: int(when) for key, when in _shown(host, "latest-handshakes").items() if allowed.get(key, _NONE) != _NONE
    }


def _shown(host: Host, what: str) -> dict[str, str]:
    """What `wg` shows of each peer, by public key."""
    lines = host.run("wg", "show", INTERFACE, what).stdout.splitlines()
    return dict(line.split("\t", 1) for line in lines)


def _online(mesh: Mesh) -> set[str]:
    """The addresses of the peers that the server calls online."""
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
    peers = json.loads(mesh.server.host.run("python", "-c", code, f"{mesh.server.url}/peers").stdout)["peers"]
    return {peer["virtual_ip"] for peer in peers if peer["online"]}


def _watch_handshakes(host: Host, seconds: int) -> set[int]:
    """Every handshake of the only peer, in so many seconds."""
    seen = set()
    for _ in range(seconds * 2 // _REKEY_AFTER_TIME):
        time.sleep(_REKEY_AFTER_TIME / 2)
        seen |= set(_handshakes(host).values())
    return seen


def test_an_hour_of_mesh_on_a_slow_and_lossy_line(lab: Lab) -> None:
    mesh = Mesh(lab)
    a, b = mesh.join("a", "b")
    assert [_kind(client.host) for client in (a, b)] == ["wireguard", "wireguard"]
    for client in (a, b):
        client.host.link.netem(delay="20ms", loss="0.5%")  # twice there and twice back: 80 ms and 2 %
    probe = Probe(a.host, b.ipv4, rate=1)
    seen = _watch_handshakes(a.host, _HOUR)
    losses = probe.stop()

    assert losses.sent >= 0.99 * _HOUR
    assert 0.01 < losses.lost / losses.sent < 0.04, f"the line loses 2 %, and nobody more: {losses}"
    assert losses.longest_gap < 5, f"new keys cost no packet: {losses}"
    assert len(seen) >= _HOUR / _REJECT_AFTER_TIME, "the sessions were renewed in time"
    assert time.time() - max(seen) <= _REJECT_AFTER_TIME
    assert _online(mesh) == {str(a.ipv4), str(b.ipv4)}
    assert a.process.running
    assert b.process.running


def test_kernel_and_userspace_for_half_an_hour(lab: Lab) -> None:
    mesh = Mesh(lab)
    (a,) = mesh.join("a", flags=["-backend", "kernel"])
    (b,) = mesh.join("b", flags=["-backend", "userspace"])
    assert (_kind(a.host), _kind(b.host)) == ("wireguard", "tun")
    for client in (a, b):
        client.host.link.netem(delay="20ms", loss="0.5%")
    probe = Probe(b.host, a.ipv4, rate=1)
    seen = _watch_handshakes(b.host, _HOUR // 2)
    losses = probe.stop()
    assert 0 < losses.lost / losses.sent < 0.05, str(losses)
    assert len(seen) >= _HOUR / 2 / _REJECT_AFTER_TIME
    assert mesh.unreachable() == []


@pytest.mark.parametrize("victim", ["agent", "server"])
def test_tunnels_outlive_a_killed_program(lab: Lab, victim: str) -> None:
    mesh = Mesh(lab)
    a, b = mesh.join("a", "b")
    assert mesh.unreachable() == []
    probe = Probe(a.host, b.ipv4, rate=10)
    probe.wait_for_reply()
    killed = a if victim == "agent" else mesh.server
    killed.process.kill()
    time.sleep(_REJECT_AFTER_TIME + _SYNC)  # long enough that new keys are due, and that a peer is called offline
    if victim == "agent":
        a.start()
        assert a.addresses()
    else:
        mesh.server.restart()
    time.sleep(_SYNC)
    losses = probe.stop()
    assert losses.lost == 0, str(losses)
    assert _eventually(lambda: _online(mesh) == {str(a.ipv4), str(b.ipv4)}, within=_OFFLINE_AFTER)


def test_an_agent_takes_a_thousand_peers_and_lets_them_go(lab: Lab) -> None:
    mesh = Mesh(lab, "-registration-burst", 0)
    a, b = mesh.join("a", "b")
    mesh.server.host.run("python", "-c", _REGISTER_MANY, _MANY, timeout=_SYNC)
    assert _eventually(lambda: len(_handshakes(a.host)) == _MANY + 1, within=_SYNC + 5)
    assert mesh.unreachable() == []
    # None of them has a heartbeat.
    assert _eventually(lambda: len(_handshakes(a.host)) == 1, within=_OFFLINE_AFTER + 2 * _SYNC)
    assert a.ping(b.ipv4, b.ipv6) == []

"""`vpn-relay` beside a server: pairs that cannot be direct are on one of them, and go to another when it dies."""

import os
import signal
import time

import pytest

from lab import Host, Lab
from lab.mesh import PORT, Client, unanswered
from lab.probe import Probe
from lab.station import Station
from lab.wide_mesh import WideMesh, path
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.model.relays import OWN_RELAY

pytestmark = pytest.mark.lab

_SOME, _MANY = 30, 200  # pings, a hundred a second
_MOVE_SECONDS = 20.0  # four times what is promised, for a machine with much to do
_SOON_SECONDS = 12.0  # after that, WireGuard itself would shake hands on the new relay
_LOOK_INTERVAL = 0.02
_NOBODY = 65534
_SILENT_PORTS = f"""table inet dead {{
    chain in {{ type filter hook input priority -10; udp dport {PORT}-{PORT + 1} drop; }}
    chain out {{ type filter hook output priority -10; udp sport {PORT}-{PORT + 1} drop; }}
}}
"""


@pytest.fixture
def wide(lab: Lab) -> WideMesh:
    """A server in the internet."""
    return WideMesh(lab)


@pytest.fixture
def station(wide: WideMesh) -> Station:
    """A relay beside it."""
    return Station(wide.places.public("fra-1"), wide.server)


@pytest.fixture
def pair(wide: WideMesh, station: Station) -> tuple[Client, Client]:
    """Two machines whose NATs let no direct path be."""
    one, other = wide.join("one", "hard"), wide.join("other", "hard")
    assert unanswered(one.host, other.addresses()) == []
    return one, other


def relay_of(one: Client, other: Client) -> str | None:
    """The relay of the pair, as both ends have it; None while they have not the same, or none."""
    reports = path(one, other), path(other, one)
    relays = {report.relay for report in reports if report.kind is PathKind.RELAY}
    return relays.pop() if len(relays) == 1 and all(report.kind is PathKind.RELAY for report in reports) else None


def wait_for_relay(one: Client, other: Client, name: str) -> None:
    deadline = time.monotonic() + _MOVE_SECONDS
    while relay_of(one, other) != name:
        assert time.monotonic() < deadline, (path(one, other), path(other, one))
        time.sleep(_LOOK_INTERVAL)


def silence(host: Host) -> None:
    """A relay that is dead: its ports neither hear nor speak, and nobody is told."""
    host.nft(_SILENT_PORTS)


def revive(host: Host) -> None:
    host.nft("delete table inet dead")


def test_a_pair_moves_to_the_other_relay_when_its_own_dies_whichever_that_is(
    wide: WideMesh, station: Station, pair: tuple[Client, Client]
) -> None:
    one, other = pair
    hosts = {OWN_RELAY: wide.server.host, station.name: station.host}
    first = relay_of(one, other) or ""
    assert first in hosts
    for dead in (first, next(name for name in hosts if name != first)):
        alive = next(name for name in hosts if name != dead)
        probe = Probe(one.host, other.ipv4)
        probe.wait_for_replies(_SOME)
        silence(hosts[dead])
        probe.wait_for_replies(_MANY, timeout=_SOON_SECONDS)
        wait_for_relay(one, other, alive)
        probe.stop()
        revive(hosts[dead])


def test_a_relay_that_ends_leaves_the_map_and_its_pairs_go_on(
    wide: WideMesh, station: Station, pair: tuple[Client, Client]
) -> None:
    one, other = pair
    silence(wide.server.host)
    wait_for_relay(one, other, station.name)
    revive(wide.server.host)
    assert station.process.terminate() == 0
    assert "a relay left relay=fra-1" in wide.server.process.output()
    wait_for_relay(one, other, OWN_RELAY)
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME, timeout=_MOVE_SECONDS)
    probe.stop()


def test_pairs_live_on_a_relay_whose_server_is_gone_and_whose_process_is_killed(
    wide: WideMesh, station: Station, pair: tuple[Client, Client]
) -> None:
    one, other = pair
    silence(wide.server.host)
    wait_for_relay(one, other, station.name)
    wide.server.process.kill()
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME)
    (relaying,) = [pid for pid, words in station.host.processes().items() if "wireguard_mesh.relay" in words]
    os.kill(relaying, signal.SIGKILL)
    probe.wait_for_replies(_MANY, timeout=_MOVE_SECONDS)
    probe.stop()
    station.process.kill()  # and all of it: it starts anew without a server
    station.host.start("vpn-relay", "-listen", f":{PORT}")
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_MANY, timeout=_MOVE_SECONDS)
    probe.stop()


def test_it_needs_no_root(wide: WideMesh) -> None:
    host = wide.places.public("ams-1")
    host.home.chmod(0o755)
    os.chown(host.home, _NOBODY, _NOBODY)
    for folder in (host.home.parent, host.home.parent.parent, host.home.parent.parent.parent):
        folder.chmod(0o755)
    drop = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--inh-caps=-all", "--")
    station = Station(host, wide.server, prefix=drop)
    wide.server.process.wait_for("a relay joined relay=ams-1")
    assert (host.home / ".config/wireguard-mesh/relay.json").stat().st_uid == _NOBODY
    assert station.process.terminate() == 0

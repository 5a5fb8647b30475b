"""What happens to routers, relays and machines on the move is healed, and tunnels go on."""

import os
import signal
import time

import pytest

from lab import Lab
from lab.mesh import Client, unanswered
from lab.probe import Probe
from lab.wide_mesh import WideMesh, path, wait_for_path
from wireguard_mesh.model.paths import PathKind

pytestmark = pytest.mark.lab

_SOME, _MANY = 30, 200  # pings, a hundred a second
_RELAY_MODULE = "wireguard_mesh.relay"
_BACK_SECONDS = 15.0  # from the restart of the server until pairs on its relay reach each other
_HEAL_SECONDS = 30.0
_IDLE_SECONDS = 40.0  # longer than a mapping of 30 s lives without packets


@pytest.fixture
def wide(lab: Lab) -> WideMesh:
    """A server in the internet."""
    return WideMesh(lab)


def _direct(wide: WideMesh, near: str, far: str) -> tuple[Client, Client]:
    one, other = wide.join("one", near), wide.join("other", far)
    wait_for_path(one, other, PathKind.DIRECT)
    wait_for_path(other, one, PathKind.DIRECT)
    return one, other


def _relayed(wide: WideMesh) -> tuple[Client, Client]:
    one, other = wide.join("one", "hard"), wide.join("other", "hard")
    assert unanswered(one.host, other.addresses()) == []
    assert path(one, other).kind is PathKind.RELAY
    return one, other


def _relay_process(wide: WideMesh) -> int:
    """The PID of the server's relay process."""
    found = [pid for pid, command in wide.server.host.processes().items() if _RELAY_MODULE in command]
    assert len(found) == 1, wide.server.host.processes()
    return found[0]


def test_pairs_go_on_when_the_relay_s_process_is_killed(wide: WideMesh) -> None:
    one, other = _relayed(wide)
    killed = _relay_process(wide)
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME)
    os.kill(killed, signal.SIGKILL)
    probe.wait_for_replies(_MANY)
    losses = probe.stop()
    assert losses.lost <= _SOME, losses  # they wait in the socket, which outlives the process
    assert _relay_process(wide) != killed


def test_pairs_on_the_relay_are_back_soon_after_the_server_is_killed(wide: WideMesh) -> None:
    one, other = _relayed(wide)
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME)
    wide.server.process.kill()
    wide.server.restart()
    probe.wait_for_reply(timeout=_BACK_SECONDS)
    probe.wait_for_replies(_MANY)
    probe.stop()
    assert unanswered(other.host, one.addresses()) == []


def test_a_direct_pair_needs_no_server(wide: WideMesh) -> None:
    one, other = _direct(wide, "easy", "easy")
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME)
    wide.server.process.kill()
    probe.wait_for_replies(_MANY)
    assert probe.stop().lost == 0
    assert path(one, other).kind is PathKind.DIRECT


@pytest.mark.slow
@pytest.mark.parametrize(("near", "far"), [("easy", "easy"), ("full-cone", "hard")])
def test_a_router_that_reboots_and_forgets_is_healed(wide: WideMesh, near: str, far: str) -> None:
    homes = wide.places.place(near), wide.places.place(far)
    one, other = wide.join("one", homes[0]), wide.join("other", homes[1])
    wait_for_path(one, other, PathKind.DIRECT)
    for home in homes:
        probe = Probe(one.host, other.ipv4)
        probe.wait_for_replies(_SOME)
        home.router.forget()
        probe.wait_for_reply(timeout=_HEAL_SECONDS)
        probe.stop()
    wait_for_path(one, other, PathKind.DIRECT, _HEAL_SECONDS)
    assert unanswered(other.host, one.addresses()) == []


@pytest.mark.slow
def test_a_pair_that_was_idle_longer_than_a_mapping_lives_is_still_direct(wide: WideMesh) -> None:
    one, other = _direct(wide, "short", "short")
    time.sleep(_IDLE_SECONDS)  # it is the routers' clocks that are waited for
    done = one.host.run("ping", "-n", "-c1", "-W1", other.ipv4)
    assert done.returncode == 0
    assert path(one, other).kind is PathKind.DIRECT


@pytest.mark.slow
@pytest.mark.parametrize("far", ["easy", "hard"])
def test_a_machine_that_moves_keeps_its_tunnels(wide: WideMesh, far: str) -> None:
    one, other = wide.join("one", "full-cone"), wide.join("other", far)
    wait_for_path(one, other, PathKind.DIRECT)
    probe = Probe(other.host, one.ipv4)
    probe.wait_for_replies(_SOME)
    for kind in ("easy", "hard", "full-cone"):
        one.host.move(wide.places.place(kind).segment)
        probe.wait_for_replies(_SOME, timeout=_HEAL_SECONDS)
    probe.stop()
    wait_for_path(one, other, PathKind.DIRECT, _HEAL_SECONDS)
    assert unanswered(one.host, other.addresses()) == []

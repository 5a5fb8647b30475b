"""Paths over slow lines and for long times, on WireGuard of the kernel: what NATs forget is kept alive, or found again.

Sleeping costs nothing here, so the tests sleep where others poll.
"""

import time

import pytest

from lab import Lab
from lab.mesh import Client, unanswered
from lab.places import Place
from lab.probe import Probe
from lab.wide_mesh import WideMesh, path, wait_for_path
from wireguard_mesh.core.tunnels import KEEPALIVE_TIMEOUT, REKEY_TIMEOUT
from wireguard_mesh.model.paths import PathKind

_SILENCE = 200  # seconds: longer than a session of WireGuard lives, and than any NAT remembers
_NEW_SESSION = 150.0  # seconds: WireGuard has made another one by then (paper, section 6.1: after 120)
_DELAY = "40ms"  # of each line: 160 ms there and back
_FIRST_PING_SECONDS = 4.0  # a first handshake that came to nothing costs five
_SLOW_SECONDS = 30.0
_HEAL_SECONDS = 60.0
_MANY = 60  # pings


def _pair(wide: WideMesh, near: Place, far: Place, delay: str = _DELAY) -> tuple[Client, Client]:
    """Two machines at the ends of slow lines."""
    clients = []
    for name, place in (("one", near), ("other", far)):
        host = place.host(name)
        host.link.netem(delay=delay)
        client = Client(host, wide.server)
        client.addresses()
        clients.append(client)
    return clients[0], clients[1]


def _answers_at_once(one: Client, other: Client) -> bool:
    return one.host.run("ping", "-n", "-c1", "-W1", other.ipv4, check=False).returncode == 0


def _cut(here: Place, there: Place) -> None:
    """What comes from there without a detour is lost here, and what goes there."""
    ends = f"{{ {there.router.links[1].ipv4} }}"
    here.router.nft(f"""table inet cut {{
        chain everything {{ type filter hook forward priority -10; ip saddr {ends} drop; ip daddr {ends} drop; }}
    }}""")


@pytest.mark.parametrize(("delay", "is_newcomer"), [("20ms", False), ("40ms", False), ("75ms", False), ("75ms", True)])
def test_the_first_ping_by_relay_takes_some_round_trips(lab: Lab, delay: str, is_newcomer: bool) -> None:
    wide = WideMesh(lab)
    one, other = _pair(wide, wide.places.place("hard"), wide.places.place("hard"), delay)
    near, far = (other, one) if is_newcomer else (one, other)
    started = time.monotonic()
    assert unanswered(near.host, [far.ipv4]) == []
    seconds = time.monotonic() - started
    assert seconds < _FIRST_PING_SECONDS, f"{seconds:.2f} s"
    assert path(one, other).kind is PathKind.RELAY


@pytest.mark.parametrize("kind", ["easy", "short"])
def test_a_pair_on_slow_lines_becomes_direct_and_stays_so_when_nobody_speaks(lab: Lab, kind: str) -> None:
    wide = WideMesh(lab)
    one, other = _pair(wide, wide.places.place(kind), wide.places.place(kind))
    assert unanswered(one.host, other.addresses()) == []
    wait_for_path(one, other, PathKind.DIRECT, _SLOW_SECONDS)
    for _ in range(2):
        time.sleep(_SILENCE)
        assert _answers_at_once(one, other)
        assert _answers_at_once(other, one)
    assert path(one, other).kind is path(other, one).kind is PathKind.DIRECT


def test_on_the_relay_new_keys_cost_no_packet(lab: Lab) -> None:
    wide = WideMesh(lab)
    one, other = _pair(wide, wide.places.place("hard"), wide.places.place("hard"))
    assert unanswered(one.host, other.addresses()) == []
    probe = Probe(one.host, other.ipv4, rate=5)
    time.sleep(2 * _NEW_SESSION)
    losses = probe.stop()
    assert losses.lost <= 1, str(losses)
    assert path(one, other).kind is PathKind.RELAY


def test_a_direct_path_that_is_cut_is_left_for_a_relay_that_does_not_know_its_session(lab: Lab) -> None:
    wide = WideMesh(lab)
    here, there = wide.places.place("easy"), wide.places.place("easy")
    one, other = _pair(wide, here, there)
    wait_for_path(one, other, PathKind.DIRECT, _SLOW_SECONDS)
    time.sleep(_NEW_SESSION)
    probe = Probe(one.host, other.ipv4, rate=20)
    probe.wait_for_replies(_MANY, timeout=_HEAL_SECONDS)
    _cut(here, there)
    time.sleep(1)  # what is on its way still arrives
    probe.wait_for_replies(_MANY, timeout=_HEAL_SECONDS)
    losses = probe.stop()
    assert path(one, other).kind is PathKind.RELAY
    assert losses.longest_gap < KEEPALIVE_TIMEOUT + REKEY_TIMEOUT, f"sooner than by WireGuard alone: {losses}"


def test_udp_that_is_blocked_while_nobody_speaks_is_noticed_though_somebody_asks_how_it_stands(lab: Lab) -> None:
    wide = WideMesh(lab)
    here = wide.places.place("easy")
    one, other = _pair(wide, here, wide.places.place("easy"))
    wait_for_path(one, other, PathKind.DIRECT, _SLOW_SECONDS)
    here.router.block_udp()
    wait_for_path(one, other, PathKind.RELAY, _HEAL_SECONDS)  # asks all the time
    assert unanswered(other.host, one.addresses()) == []


def test_routers_that_reboot_while_nobody_speaks_are_healed_when_somebody_does(lab: Lab) -> None:
    wide = WideMesh(lab)
    homes = wide.places.place("full-cone"), wide.places.place("hard")
    one, other = _pair(wide, *homes)
    wait_for_path(one, other, PathKind.DIRECT, _SLOW_SECONDS)
    for home in homes:
        time.sleep(_SILENCE)
        home.router.forget()
        probe = Probe(one.host, other.ipv4, rate=5)
        probe.wait_for_reply(timeout=_HEAL_SECONDS)
        probe.stop()
    wait_for_path(one, other, PathKind.DIRECT, _HEAL_SECONDS)

"""Where UDP is blocked, packets go over the server's own port by TCP, and by UDP again when it opens."""

import time

import pytest

from lab import Lab
from lab.mesh import Client, unanswered
from lab.probe import Probe
from lab.wide_mesh import Proxy, WideMesh, path, status, wait_for_path
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.status import Transport, UdpState

pytestmark = pytest.mark.lab

_DEADLINE = 60.0  # seconds: whether UDP works again is asked now and then
_SOME = 30  # pings, a hundred a second


@pytest.fixture
def wide(lab: Lab) -> WideMesh:
    """A server in the internet."""
    return WideMesh(lab)


def _transport(client: Client) -> Transport:
    (relay,) = status(client).relays
    return relay.transport


def _wait_for_transport(client: Client, transport: Transport) -> None:
    deadline = time.monotonic() + _DEADLINE
    while _transport(client) is not transport:
        assert time.monotonic() < deadline, status(client)
        time.sleep(0.05)


def _wait_for_nat(client: Client, kind: NatClass) -> None:
    """What relays make of it comes by the map, after the first packets."""
    deadline = time.monotonic() + _DEADLINE
    while status(client).nat.kind is not kind:
        assert time.monotonic() < deadline, status(client)
        time.sleep(0.05)


def test_without_udp_packets_go_over_a_websocket(wide: WideMesh) -> None:
    blocked, other = wide.join("blocked", "udp-blocked"), wide.join("other", "easy")
    assert unanswered(blocked.host, other.addresses()) == []
    assert unanswered(other.host, blocked.addresses()) == []
    assert path(blocked, other).kind is PathKind.RELAY
    assert status(blocked).udp is UdpState.BLOCKED
    _wait_for_nat(blocked, NatClass.BLOCKED)
    assert _transport(blocked) is Transport.WEBSOCKET
    assert _transport(other) is Transport.UDP


def test_two_machines_without_udp_reach_each_other(wide: WideMesh) -> None:
    one, other = wide.join("one", "udp-blocked"), wide.join("other", "udp-blocked")
    assert unanswered(one.host, other.addresses()) == []
    assert unanswered(other.host, one.addresses()) == []


def test_where_only_an_http_proxy_leads_out_it_is_taken(wide: WideMesh) -> None:
    proxy = Proxy(wide.places.public("proxy"))
    office = wide.join("office", "proxied", env=proxy.environment)
    other = wide.join("other", "easy")
    assert unanswered(office.host, other.addresses()) == []
    assert unanswered(other.host, office.addresses()) == []
    assert _transport(office) is Transport.WEBSOCKET
    assert str(wide.server.host.ipv4) in proxy.process.output()


@pytest.mark.slow
def test_when_udp_opens_it_is_taken_again_and_the_pair_becomes_direct(wide: WideMesh) -> None:
    cafe = wide.places.place("udp-blocked")
    guest, other = wide.join("guest", cafe), wide.join("other", "easy")
    assert unanswered(guest.host, other.addresses()) == []
    probe = Probe(guest.host, other.ipv4)
    probe.wait_for_replies(_SOME)
    cafe.router.allow_udp()
    _wait_for_transport(guest, Transport.UDP)
    wait_for_path(guest, other, PathKind.DIRECT)
    probe.wait_for_replies(_SOME)
    assert status(guest).udp is UdpState.WORKS
    losses = probe.stop()
    assert losses.lost <= losses.sent / 100, losses


@pytest.mark.slow
def test_when_udp_is_blocked_later_the_tunnel_goes_on_by_tcp(wide: WideMesh) -> None:
    home = wide.places.place("easy")
    one, other = wide.join("one", home), wide.join("other", "easy")
    wait_for_path(one, other, PathKind.DIRECT)
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME)
    home.router.block_udp()
    probe.wait_for_replies(_SOME, timeout=_DEADLINE)
    probe.stop()
    assert path(one, other).kind is PathKind.RELAY
    assert _transport(one) is Transport.WEBSOCKET


def test_a_machine_that_moves_to_where_udp_works_uses_it(wide: WideMesh) -> None:
    guest, other = wide.join("guest", "udp-blocked"), wide.join("other", "easy")
    assert unanswered(guest.host, other.addresses()) == []
    guest.host.move(wide.places.place("easy").segment)
    wait_for_path(guest, other, PathKind.DIRECT, _DEADLINE)
    assert unanswered(guest.host, other.addresses()) == []
    _wait_for_transport(guest, Transport.UDP)

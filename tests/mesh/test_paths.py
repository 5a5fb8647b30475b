"""The path that a pair ends up with follows from what stands before both, and packets flow from the beginning."""

import json

import pytest

from lab import Lab
from lab.mesh import Client, unanswered
from lab.places import CGNAT, PUBLIC, V6_FIREWALL
from lab.probe import Probe
from lab.wide_mesh import WideMesh, path, status, wait_for_path
from wireguard_mesh.model.paths import CandidateKind, PathKind
from wireguard_mesh.model.relays import OWN_RELAY, NatClass

pytestmark = pytest.mark.lab

_OTHER_PORT = ("-listen-port", 51821)  # a NAT that keeps ports gives two machines behind it two ports only so
_SOME, _MANY = 30, 300  # pings, a hundred a second
_INSIDE = "10.100.0.2"  # the address in the mesh of the second who joins


@pytest.fixture
def wide(lab: Lab) -> WideMesh:
    """A server in the internet."""
    return WideMesh(lab)


def _reach_each_other(one: Client, other: Client) -> None:
    assert unanswered(one.host, other.addresses()) == []
    assert unanswered(other.host, one.addresses()) == []


@pytest.mark.parametrize(
    ("near", "far"),
    [("easy", "easy"), (CGNAT, "easy"), ("port-changing", "port-changing"), ("full-cone", "hard"), (PUBLIC, "hard")],
)
def test_a_pair_that_can_be_direct_becomes_so(wide: WideMesh, near: str, far: str) -> None:
    one, other = wide.join("one", near), wide.join("other", far)
    _reach_each_other(one, other)
    for client, peer in ((one, other), (other, one)):
        report = wait_for_path(client, peer, PathKind.DIRECT)
        assert report.endpoint is not None
        assert str(report.endpoint.address) != str(wide.server.host.ipv4)
        assert report.since
    _reach_each_other(one, other)


def test_two_easy_nats_are_passed_by_what_the_relay_saw(wide: WideMesh) -> None:
    homes = wide.places.place("easy"), wide.places.place("easy")
    one, other = wide.join("one", homes[0]), wide.join("other", homes[1])
    report = wait_for_path(one, other, PathKind.DIRECT)
    assert report.candidate is CandidateKind.REFLEXIVE
    assert str(report.endpoint) == f"{homes[1].router.ends.address}:51820"
    assert {status(client).nat.kind for client in (one, other)} == {NatClass.EASY}


def test_two_hard_nats_stay_on_the_relay_and_lose_nothing_while_they_try(wide: WideMesh) -> None:
    one, other = wide.join("one", "hard"), wide.join("other", "hard")
    _reach_each_other(one, other)
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_MANY)
    losses = probe.stop()
    assert losses.lost <= losses.sent / 100, losses  # a probe may cost the packets of its moment
    for client, peer in ((one, other), (other, one)):
        report = path(client, peer)
        assert (report.kind, report.relay) == (PathKind.RELAY, OWN_RELAY)
        assert report.endpoint is not None
        assert str(report.endpoint.address) == str(wide.server.host.ipv4)
        assert status(client).nat.kind is NatClass.HARD


def test_two_homes_behind_a_carrier_that_turns_nothing_back_stay_on_the_relay(wide: WideMesh) -> None:
    carrier = wide.places.carrier("easy")
    one = wide.join("one", wide.places.place("easy", carrier))
    other = wide.join("other", wide.places.place("easy", carrier), *_OTHER_PORT)
    _reach_each_other(one, other)
    assert path(one, other).kind is PathKind.RELAY


def test_two_homes_behind_a_carrier_that_turns_back_what_is_its_own_are_direct(wide: WideMesh) -> None:
    carrier = wide.places.carrier("hairpin")
    one = wide.join("one", wide.places.place("easy", carrier))
    other = wide.join("other", wide.places.place("easy", carrier), *_OTHER_PORT)
    report = wait_for_path(one, other, PathKind.DIRECT)
    assert report.endpoint is not None
    assert report.endpoint.address == carrier.router.ends.address
    _reach_each_other(one, other)


@pytest.mark.parametrize("kind", ["easy", "hard", "udp-blocked"])
def test_two_machines_on_one_network_take_it(wide: WideMesh, kind: str) -> None:
    home = wide.places.place(kind)
    one, other = wide.join("one", home), wide.join("other", home)
    report = wait_for_path(one, other, PathKind.DIRECT)
    assert report.candidate is CandidateKind.LAN
    assert str(report.endpoint) == f"{other.host.ipv4}:51820"
    _reach_each_other(one, other)


def test_ipv6_leads_through_two_firewalls_where_ipv4_leads_nowhere(wide: WideMesh) -> None:
    one, other = wide.join("one", V6_FIREWALL), wide.join("other", V6_FIREWALL)
    for client, peer in ((one, other), (other, one)):
        report = wait_for_path(client, peer, PathKind.DIRECT)
        assert report.candidate is CandidateKind.IPV6
        assert str(report.endpoint) == f"[{peer.host.ipv6}]:51820"
    _reach_each_other(one, other)


def test_the_status_for_programs_says_how_each_peer_is_reached(wide: WideMesh) -> None:
    one, other = wide.join("one", "easy"), wide.join("other", "easy")
    wait_for_path(one, other, PathKind.DIRECT)
    found = json.loads(one.host.run("vpn-client", "status", "--json").stdout)
    (peer,) = found["peers"]
    assert peer["path"]["kind"] == "direct"
    assert peer["path"]["endpoint"] == peer["endpoint"]
    assert peer["nat"] == found["nat"]["kind"] == "easy"
    (relay,) = found["relays"]
    assert relay["id"] == OWN_RELAY
    assert relay["transport"] == "udp"
    assert relay["reachable"]


def test_an_address_of_the_mesh_is_no_way_to_a_peer(wide: WideMesh) -> None:
    one = wide.join("one", "hard")
    host = wide.places.place("hard").host("other")
    host.run("ip", "address", "add", _INSIDE + "/32", "dev", "eth0")  # as somebody would who means harm
    other = Client(host, wide.server)
    _reach_each_other(one, other)
    report = wait_for_path(one, other, PathKind.RELAY)
    assert _INSIDE in {str(endpoint.address) for endpoint in status(other).nat.host}
    assert _INSIDE not in {str(trial.endpoint.address) for trial in report.trials}
    sent = int(one.host.run("cat", "/sys/class/net/wg0/statistics/tx_packets").stdout)
    assert sent < _MANY, "what leaves the tunnel went into it again"

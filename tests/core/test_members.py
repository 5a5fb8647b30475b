"""Meshes in memory: engines, WireGuard that roams, a relay, and NATs between. Time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

import msgspec
import pytest

from tests.core.simulated import EPOCH, NAME, PORT, Agent, SimulatedRelay, World, at
from tests.natlab import (
    ADDRESS_FILTERING,
    EASY,
    FULL_CONE,
    HARD,
    PLAIN,
    PORT_CHANGING,
    Behaviour,
    Network,
    Segment,
)
from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.core.endpoints import Surroundings
from wireguard_mesh.core.looks import RELAY_IDLE_LOOK
from wireguard_mesh.core.members import Members
from wireguard_mesh.core.probes import MAX_PEERS
from wireguard_mesh.core.relay_choice import RelayChoice
from wireguard_mesh.core.renewals import FOLLOW, PROOF
from wireguard_mesh.core.sessions import FOLLOW_AFTER, FOLLOW_BY_RELAY
from wireguard_mesh.core.tunnels import REKEY_TIMEOUT
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.model.relays import NatClass, Relay, RelayId, VantagePoint

Send = Callable[[int, Endpoint, bytes, float], None]
NATS = {HARD: NatClass.HARD, PLAIN: NatClass.PUBLIC}
RELAY = Relay(
    id=RelayId("server"), vantage_points=(VantagePoint(public_key(900), 8080),), ipv4=IPv4Address("203.0.113.1")
)
FLOW_SIZE = 1432
FLOW_RATE = 1786  # packets a second: 20 Mbit/s


@dataclass
class Pair:
    """Two machines behind routers, and a relay in the internet between."""

    network: Network
    world: World
    one: Agent
    other: Agent
    relay: SimulatedRelay
    internet: Segment

    def run(self, until: float) -> None:
        self.network.run(until=until)

    def kinds(self, now: float) -> set[PathKind]:
        return self.world.kinds(now)

    def flow(
        self,
        sender: Agent,
        receiver: Agent,
        start: float,
        seconds: float,
        *,
        rate: int = FLOW_RATE,
        size: int = FLOW_SIZE,
    ) -> int:
        """Packets at an even pace; how many there will be."""
        count = int(seconds * rate)
        for number in range(count):
            self.network.at(start + number / rate, partial(self._send, sender, receiver, size, number))
        return count

    def _send(self, sender: Agent, receiver: Agent, size: int, number: int, now: float) -> None:
        sender.device.send(public_key(receiver.number), size, now, number)

    def cut(self, now: float) -> None:
        """From now on, what goes straight from one to the other is lost, both ways."""
        for agent, other in ((self.one, self.other), (self.other, self.one)):
            agent.host.send = partial(self._lossy, agent.host.send, agent.path(other, now).endpoint)  # type: ignore[method-assign]

    def _lossy(
        self, carry: Send, lost: Endpoint | None, port: int, destination: Endpoint, payload: bytes, now: float
    ) -> None:
        if destination != lost:
            carry(port, destination, payload, now)


def make_pair(here: Behaviour, there: Behaviour, latency: float = 0.005) -> Pair:
    network = Network()
    internet = network.segment(latency)
    relay = SimulatedRelay(network.host(internet, "203.0.113.1"), 90)
    world = World(network, relay)
    homes = network.segment(0.001), network.segment(0.001)
    network.router(homes[0], internet, "203.0.113.2", here)
    network.router(homes[1], internet, "203.0.113.3", there)
    one = world.agent(1, network.host(homes[0], "192.168.1.2"), NATS.get(here, NatClass.EASY))
    other = world.agent(2, network.host(homes[1], "192.168.2.2"), NATS.get(there, NatClass.EASY))
    return Pair(network, world, one, other, relay, internet)


def joined(here: Behaviour, there: Behaviour, latency: float = 0.005) -> Pair:
    """At second 3 both speak by relay, and have not heard of each other's reflexive addresses yet."""
    pair = make_pair(here, there, latency)
    pair.world.is_told = False
    pair.network.at(0.0, pair.one.start)
    pair.network.at(1.0, pair.other.start)
    pair.run(3.0)
    assert PathKind.NONE not in pair.kinds(3.0)
    pair.world.is_told = True
    return pair


def test_a_newcomer_reaches_the_other_by_relay_at_once() -> None:
    pair = make_pair(EASY, EASY)
    pair.world.is_told = False
    pair.network.at(0.0, pair.one.start)
    pair.network.at(1.0, pair.other.start)
    pair.run(1.3)
    assert pair.kinds(1.3) == {PathKind.RELAY}
    report = pair.one.path(pair.other, 1.3)
    assert report.relay == "server"
    assert str(report.endpoint) == "203.0.113.1:8080"


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (EASY, EASY),
        (EASY, PORT_CHANGING),
        (PORT_CHANGING, PORT_CHANGING),
        (FULL_CONE, HARD),
        (HARD, ADDRESS_FILTERING),
        (PLAIN, HARD),
        (PLAIN, PLAIN),
    ],
)
def test_nats_that_can_be_passed_are(here: Behaviour, there: Behaviour) -> None:
    pair = joined(here, there)
    pair.network.at(3.0, pair.world.tell)
    pair.run(3.2)
    assert pair.kinds(3.2) == {PathKind.DIRECT}
    before = pair.relay.forwarded
    pair.run(200.0)
    assert pair.kinds(200.0) == {PathKind.DIRECT}
    assert pair.relay.forwarded == before


@pytest.mark.parametrize(("here", "there"), [(EASY, HARD), (HARD, HARD)])
def test_nats_that_cannot_be_passed_are_tried_less_and_less(here: Behaviour, there: Behaviour) -> None:
    pair = joined(here, there)
    pair.network.at(3.0, pair.world.tell)
    pair.run(3000.0)
    assert pair.kinds(3000.0) == {PathKind.RELAY}
    for agent in (pair.one, pair.other):
        rounds = [when for when, _peers in agent.probes]
        assert len(rounds) < 40
        assert rounds[-1] - rounds[-2] >= 300
        trials = agent.path(pair.other if agent is pair.one else pair.one, 3000.0).trials
        assert {trial.outcome for trial in trials if trial.kind is CandidateKind.REFLEXIVE} == {Outcome.SILENT}


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("latency", [0.0001, 0.005, 0.04])
def test_two_hard_nats_are_passed_beside_by_ipv6_through_their_firewalls(latency: float, is_late: bool) -> None:
    network = Network()
    internet = network.segment(latency)
    world = World(network, SimulatedRelay(network.host(internet, "203.0.113.1"), 90))
    for number in (1, 2):
        home = network.segment(0.001)
        network.router(home, internet, f"203.0.113.{number + 1}", HARD)
        world.agent(number, network.host(home, "192.168.1.2", f"2001:db8:{number}::2"), NatClass.HARD)
    world.is_ipv6_told = not is_late
    network.at(0.0, world.agents[1].start)
    network.at(1.0, world.agents[2].start)
    network.run(until=20.0)
    if is_late:
        assert world.kinds(20.0) == {PathKind.RELAY}
        world.is_ipv6_told = True
        network.at(20.0, world.tell)
        network.run(until=22.0)
    assert world.kinds(22.0) == {PathKind.DIRECT}
    report = world.agents[1].path(world.agents[2], 22.0)
    assert report.candidate is CandidateKind.IPV6


def test_two_machines_on_one_link_find_each_other_however_hard_their_nat_is() -> None:
    network = Network()
    internet, home = network.segment(), network.segment(0.0001)
    relay = SimulatedRelay(network.host(internet, "203.0.113.1"), 90)
    world = World(network, relay)
    network.router(home, internet, "203.0.113.2", HARD)
    for number in (1, 2):
        agent = world.agent(number, network.host(home, f"192.168.1.{number + 1}"), NatClass.HARD)
        network.at(float(number), agent.start)
    network.run(until=2.5)
    assert world.kinds(2.5) == {PathKind.DIRECT}
    assert world.agents[1].path(world.agents[2], 2.5).candidate is CandidateKind.LAN


def test_an_upgrade_costs_a_flow_nothing() -> None:
    for latency in (0.005, 0.04):
        for swap in (False, True):
            pair = joined(EASY, EASY, latency)
            sender, receiver = (pair.other, pair.one) if swap else (pair.one, pair.other)
            count = pair.flow(sender, receiver, 8.0, 5.0)
            pair.network.at(10.0, pair.world.tell)
            pair.run(14.0)
            assert pair.kinds(14.0) == {PathKind.DIRECT}, (latency, swap)
            assert receiver.device.flows == set(range(count)), (latency, swap)


def test_probes_that_all_fail_cost_a_flow_next_to_nothing() -> None:
    pair = joined(EASY, HARD)
    count = pair.flow(pair.one, pair.other, 9.0, 30.0)
    pair.network.at(10.0, pair.world.tell)
    pair.run(40.0)
    assert pair.kinds(40.0) == {PathKind.RELAY}
    lost = count - len(pair.other.device.flows)
    assert lost <= count * 0.001


def test_flows_both_ways_become_direct_too() -> None:
    """As of TCP: data one way, half as many small packets the other."""
    pair = joined(EASY, EASY, latency=0.02)
    pair.flow(pair.one, pair.other, 8.0, 8.0)
    pair.flow(pair.other, pair.one, 8.0003, 8.0, rate=FLOW_RATE // 2, size=128)
    pair.network.at(10.0, pair.world.tell)
    pair.run(16.0)
    assert pair.kinds(16.0) == {PathKind.DIRECT}


def test_a_direct_path_that_dies_is_left_for_the_relay() -> None:
    pair = joined(EASY, EASY)
    pair.network.at(3.0, pair.world.tell)
    count = pair.flow(pair.one, pair.other, 10.0, 40.0)
    pair.run(20.0)
    assert pair.kinds(20.0) == {PathKind.DIRECT}
    pair.cut(20.0)
    pair.run(45.0)
    assert pair.one.path(pair.other, 45.0).kind is PathKind.RELAY
    pair.run(51.0)
    last_seconds = {number for number in range(count) if number >= (42 - 10) * FLOW_RATE}
    assert len(last_seconds - pair.other.device.flows) < len(last_seconds) / 100


def test_a_direct_session_that_no_relay_knows_is_back_when_wireguard_should_have_answered() -> None:
    pair = joined(EASY, EASY)
    pair.network.at(3.0, pair.world.tell)
    pair.run(150.0)  # WireGuard has made another session meanwhile, directly
    assert pair.kinds(150.0) == {PathKind.DIRECT}
    for sender, receiver in ((pair.one, pair.other), (pair.other, pair.one)):
        pair.flow(sender, receiver, 150.0, 40.0)
    pair.cut(155.0)
    pair.run(155.0 + PROOF + FOLLOW + RELAY_IDLE_LOOK)
    arrived = max(pair.one.device.flows), max(pair.other.device.flows)
    assert min(arrived) >= (5.0 + PROOF + 1.0) * FLOW_RATE
    assert pair.kinds(155.0 + PROOF + FOLLOW + RELAY_IDLE_LOOK) == {PathKind.RELAY}


def test_a_relay_that_dies_is_left_for_the_next_by_all_pairs_in_one_change() -> None:
    network = Network()
    internet = network.segment()
    first, second = (SimulatedRelay(network.host(internet, f"203.0.113.{9 + n}"), 90 + n, f"r{n}") for n in (0, 1))
    world = World(network, first, second)
    for number in (1, 2, 3):
        home = network.segment(0.001)
        network.router(home, internet, f"203.0.113.{20 + number}", HARD)
        agent = world.agent(number, network.host(home, f"192.168.{number}.2"), NatClass.HARD)
        network.at(float(number), agent.start)
    network.run(until=6.0)
    assert world.kinds(6.0) == {PathKind.RELAY}
    agent = world.agents[1]
    assert agent.path(world.agents[2], 6.0).relay == "r0"
    first.is_dead = True
    for other in world.agents.values():
        for _ in range(3):
            other.engine.relays.missed(first.relay.id, 0, at(6.0))
        other.wake(6.0)
    network.run(until=7.0)
    assert {agent.path(world.agents[number], 7.0).relay for number in (2, 3)} == {"r1"}
    assert world.kinds(7.0) == {PathKind.RELAY}
    assert second.sessions, "the sessions that the dead one alone knew were made anew"
    for number, other in enumerate(world.agents.values()):
        if other is not agent:
            agent.device.send(public_key(other.number), FLOW_SIZE, 7.0, number)
    network.run(until=7.5)
    assert {number for other in world.agents.values() for number in other.device.flows} == {1, 2}


def test_a_machine_that_moves_is_reached_again_at_once() -> None:
    pair = joined(EASY, EASY)
    pair.network.at(3.0, pair.world.tell)
    pair.run(5.0)
    assert pair.kinds(5.0) == {PathKind.DIRECT}
    abroad = pair.network.segment(0.001)
    pair.network.router(abroad, pair.internet, "203.0.113.77", EASY)
    pair.one.host.move(abroad, "192.168.7.7")
    pair.network.at(5.0, pair.one.links_changed)
    pair.run(5.5)
    assert pair.one.path(pair.other, 5.5).kind is PathKind.RELAY
    assert str(pair.other.device.peers[public_key(1)].endpoint) == "203.0.113.1:8080"
    pair.run(6.0)
    pair.network.at(6.0, pair.world.tell)
    pair.run(7.0)
    assert pair.kinds(7.0) == {PathKind.DIRECT}


def test_who_was_called_without_a_relay_is_called_by_it_when_it_comes() -> None:
    pair = make_pair(HARD, HARD)
    pair.relay.is_dead = True
    pair.network.at(0.0, pair.one.start)
    pair.network.at(0.0, pair.other.start)
    pair.run(2.0)
    assert pair.kinds(2.0) == {PathKind.NONE}
    pair.relay.is_dead = False
    pair.run(2.0 + 4 * REKEY_TIMEOUT)
    assert pair.kinds(2.0 + 4 * REKEY_TIMEOUT) == {PathKind.RELAY}


def test_who_was_there_follows_a_newcomer_later_where_relays_are() -> None:
    for relays, seconds in (((), FOLLOW_AFTER), ((RELAY,), FOLLOW_BY_RELAY)):
        members = Members(RelayChoice(), public_key(1))
        before = NetworkMap(epoch="e", revision=1, network=NETWORK, me=peer(1), peers={}, relays=relays)
        members.follow(before, msgspec.structs.replace(before, peers={public_key(2): peer(2)}), None, at(5))
        assert not members[public_key(2)].starts(at(4.9 + seconds))
        assert members[public_key(2)].starts(at(5 + seconds))


def test_many_peers_are_not_probed_all_at_once() -> None:
    relays = RelayChoice()
    members = Members(relays, public_key(1))
    network_map = msgspec.structs.replace(
        World(Network()).map_of([peer(number) for number in range(1, 202)]), relays=(RELAY,)
    )
    members.follow(None, network_map, None, at(0))
    relays.follow(network_map.relays, (), ())
    members.rank(network_map, Surroundings((), PORT), at(0))
    endpoint = RELAY.endpoints(0)[0]
    keys = [*network_map.peers, RELAY.vantage_points[0].public_key]
    device = ObservedDevice(
        name=NAME,
        backend=BackendKind.KERNEL,
        peers={key: ObservedPeer(public_key=key, endpoint=endpoint, latest_handshake=EPOCH + 1) for key in keys},
    )
    relays.observed(device, at(1))
    members.observe(device, network_map, at(1), is_kept=True)
    probed: set[PublicKey] = set()
    rounds = [members.round(at(1)) for _ in range(3)]
    for sent in rounds:
        assert len(sent.probes) == MAX_PEERS
        probed |= {probe.public_key for probe in sent.probes}
        members.probed(sent)
    assert len(probed) == 3 * MAX_PEERS
    # Who left meanwhile is nobody's fault.
    members.follow(network_map, msgspec.structs.replace(network_map, peers={}), device, at(1))
    members.probed(rounds[0])
    assert members.round(at(2)).probes == ()


def test_a_flow_waits_for_nobody() -> None:
    pair = joined(EASY, HARD)
    pair.flow(pair.one, pair.other, 3.0, 3.0)
    third = pair.world.agent(3, pair.network.host(pair.internet, "203.0.113.50"), NatClass.PUBLIC)
    pair.network.at(4.0, third.start)
    pair.run(6.0)
    assert all(count == 1 for when, count in pair.one.probes if when > 4.5)


def test_what_stands_before_this_machine_is_news_for_every_path_and_a_change_of_no_peer() -> None:
    members = Members(RelayChoice(), public_key(1))
    network_map = World(Network()).map_of([peer(1), peer(2)])
    assert len(members.follow(None, network_map, None, at(0))) == 1
    mine = msgspec.structs.replace(network_map.me, nat=NatClass.HARD)
    assert members.follow(network_map, msgspec.structs.replace(network_map, me=mine), None, at(1)) == []

"""Meshes in memory: engines, WireGuard that roams, a relay, and NATs between. Time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from tests.core.simulated import Agent, SimulatedRelay, World
from tests.natlab import (
    ADDRESS_FILTERING,
    EASY,
    FULL_CONE,
    HARD,
    PLAIN,
    PORT_CHANGING,
    Behaviour,
    Network,
)
from tests.samples import public_key
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind
from wireguard_mesh.model.relays import NatClass

Send = Callable[[int, Endpoint, bytes, float], None]
NATS = {HARD: NatClass.HARD, PLAIN: NatClass.PUBLIC}
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
    return Pair(network, world, one, other, relay)


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
            count = pair.flow(sender, receiver, 3.0, 14.0)
            pair.network.at(10.0, pair.world.tell)
            pair.run(18.0)
            assert pair.kinds(18.0) == {PathKind.DIRECT}, (latency, swap)
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
    pair.flow(pair.one, pair.other, 3.0, 17.0)
    pair.flow(pair.other, pair.one, 3.0003, 17.0, rate=FLOW_RATE // 2, size=128)
    pair.network.at(10.0, pair.world.tell)
    pair.run(20.0)
    assert pair.kinds(20.0) == {PathKind.DIRECT}


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

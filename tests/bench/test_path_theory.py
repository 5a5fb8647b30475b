"""What is expected of each pair is what the NATs in memory do to two ends that punch holes as WireGuard would."""

from itertools import combinations_with_replacement

import pytest

from bench.path_theory import ACCESS, Expected, expected, expected_behind_one
from lab.places import CGNAT, KINDS, PUBLIC, UDP_BLOCKED, V6_FIREWALL
from tests.natlab import EASY, HAIRPIN, HARD, Behaviour, Host, Network, Packet, Segment
from tests.natlab import KINDS as BEHAVIOURS
from wireguard_mesh.model.endpoints import Endpoint

_PORT = 51820
_RELAY_PORT = 8080
_TRIES = 5


class _World:
    """The internet with a relay that tells from where it hears whom."""

    def __init__(self) -> None:
        self.network = Network()
        self.internet = self.network.segment()
        self.relay = self.network.host(self.internet, "203.0.113.1", "2001:db8::1")
        self.now = 0.0
        self._made = 1

    def host(self, kind: str) -> Host:
        self._made += 1
        if kind == PUBLIC:
            return self.network.host(self.internet, f"203.0.113.{self._made}", f"2001:db8::{self._made}")
        outside, address = self.internet, f"203.0.113.{self._made}"
        if kind == CGNAT:
            outside, address = self.behind(EASY, self.internet, address), "100.64.0.2"
        behaviour = {CGNAT: EASY, V6_FIREWALL: HARD}.get(kind) or BEHAVIOURS[kind]
        addresses = ["192.168.1.2", *([f"2001:db8:{self._made}::2"] if kind == V6_FIREWALL else [])]
        return self.network.host(self.behind(behaviour, outside, address), *addresses)

    def behind(self, behaviour: Behaviour, outside: Segment, address: str) -> Segment:
        inside = self.network.segment()
        self.network.router(inside, outside, address, behaviour)
        return inside

    def meet(self, one: Host, other: Host, port: int = _PORT) -> bool:
        """Whether both hear each other at last; `port` is the other's."""
        ends = _End(one, _PORT), _End(other, port)
        reflexive = [self._reflexive(end) for end in ends]
        ends[0].targets, ends[1].targets = [reflexive[1]], [reflexive[0]]
        if one.addresses[-1].version == other.addresses[-1].version == 6:
            ends[0].targets.append(other.at(port, 6))
            ends[1].targets.append(one.at(_PORT, 6))
        if None in reflexive:
            return False
        for _ in range(_TRIES):
            for end in ends:
                end.call(self.now)
            self._pass_time()
        return all(end.was_answered for end in ends)

    def _reflexive(self, end: "_End") -> Endpoint | None:
        before = len(self.relay.received)
        end.host.send(end.port, self.relay.at(_RELAY_PORT), b"relay", self.now)
        self._pass_time()
        return self.relay.received[-1].source if len(self.relay.received) > before else None

    def _pass_time(self) -> None:
        self.now += 1.0
        self.network.run(self.now)


class _End:
    """Sends to all it knows of the other, and answers to where a packet came from."""

    def __init__(self, host: Host, port: int) -> None:
        self.host, self.port = host, port
        self.targets: list[Endpoint | None] = []
        self.was_answered = False
        host.on_packet = self._hear

    def call(self, now: float) -> None:
        for target in dict.fromkeys(self.targets):
            if target is not None:
                self.host.send(self.port, target, b"call", now)

    def _hear(self, packet: Packet, now: float) -> None:
        if packet.payload == b"call":
            self.host.send(self.port, packet.source, b"answer", now)
            self.targets.append(packet.source)  # as WireGuard roams
        self.was_answered = self.was_answered or packet.payload == b"answer"


@pytest.mark.parametrize(("one", "other"), list(combinations_with_replacement(ACCESS, 2)))
def test_the_theory_is_what_the_nats_do(one: str, other: str) -> None:
    world = _World()
    assert world.meet(world.host(one), world.host(other)) == (expected(one, other) is Expected.DIRECT)


@pytest.mark.parametrize("has_hairpin", [False, True])
def test_behind_one_nat(has_hairpin: bool) -> None:
    world = _World()
    carrier = world.behind(HAIRPIN if has_hairpin else EASY, world.internet, "203.0.113.9")
    homes = [world.behind(EASY, carrier, f"100.64.0.{number}") for number in (2, 3)]
    one, other = (world.network.host(home, "192.168.1.2") for home in homes)
    met = world.meet(one, other, _PORT + 1)
    assert met == (expected_behind_one(is_one_segment=False, has_hairpin=has_hairpin) is Expected.DIRECT)
    assert expected_behind_one(is_one_segment=True, has_hairpin=has_hairpin) is Expected.DIRECT


def test_every_kind_of_place_has_its_theory_but_those_about_pairs() -> None:
    assert set(KINDS) - set(ACCESS) == {"hairpin", "proxied"}
    assert not ACCESS[UDP_BLOCKED].has_udp

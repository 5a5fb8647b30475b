"""The NATs in memory do what their kinds say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.natlab import (
    ADDRESS_FILTERING,
    EASY,
    FULL_CONE,
    HAIRPIN,
    HARD,
    KINDS,
    PLAIN,
    PORT_CHANGING,
    SHORT,
    UDP_BLOCKED,
    Behaviour,
    Host,
    Mapping,
    Network,
    Packet,
)
from wireguard_mesh.model.endpoints import Endpoint

_OUTER = "203.0.113.9"
_PORT = 51820


class _Home:
    """Two machines behind a router, two outside."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.network = Network()
        internet, lan = self.network.segment(0.01), self.network.segment(0.001)
        self.x = self.network.host(internet, "203.0.113.1", "2001:db8::1")
        self.y = self.network.host(internet, "203.0.113.2", "2001:db8::2")
        self.router = self.network.router(lan, internet, _OUTER, behaviour)
        self.a = self.network.host(lan, "192.168.1.2", "2001:db8:1::2")
        self.b = self.network.host(lan, "192.168.1.3", "2001:db8:1::3")
        self.now = 0.0

    def got(self, sender: Host, port: int, destination: Endpoint, receiver: Host) -> Packet | None:
        """Send, let it arrive, and return what the receiver got of it."""
        before = len(receiver.received)
        sender.send(port, destination, b"x", self.now)
        self.now += 1.0
        self.network.run(self.now)
        return receiver.received[-1] if len(receiver.received) > before else None

    def source(self, receiver: Host, port: int, sender: Host | None = None) -> Endpoint:
        """As whom the receiver sees port 51820 of `a`."""
        packet = self.got(sender or self.a, _PORT, receiver.at(port), receiver)
        assert packet is not None
        return packet.source


@pytest.mark.parametrize("name", ["easy", "hairpin", "address-filtering", "full-cone", "short"])
def test_endpoint_independent_mappings_keep_the_port(name: str) -> None:
    home = _Home(KINDS[name])
    seen = {home.source(home.x, 1), home.source(home.x, 2), home.source(home.y, 1)}
    assert seen == {Endpoint.parse(f"{_OUTER}:{_PORT}")}


def test_a_port_changing_nat_has_one_other_port_for_all() -> None:
    home = _Home(PORT_CHANGING)
    (seen,) = {home.source(home.x, 1), home.source(home.x, 2), home.source(home.y, 1)}
    assert str(seen.address) == _OUTER
    assert seen.port != _PORT


def test_a_hard_nat_has_a_mapping_for_each_destination() -> None:
    home = _Home(HARD)
    seen = [home.source(home.x, 1), home.source(home.x, 2), home.source(home.y, 1)]
    assert len(set(seen)) == 3
    assert home.source(home.x, 1) == seen[0]


def test_address_dependent_mapping_is_one_for_each_address() -> None:
    home = _Home(replace(HARD, mapping=Mapping.ADDRESS_DEPENDENT))
    assert home.source(home.x, 1) == home.source(home.x, 2)
    assert home.source(home.x, 1) != home.source(home.y, 1)


def test_a_second_machine_with_the_same_port_gets_another() -> None:
    home = _Home(EASY)
    assert home.source(home.x, 1).port == _PORT
    assert home.source(home.x, 1, home.b).port != _PORT
    assert home.source(home.x, 1).port == _PORT


@pytest.mark.parametrize(
    ("behaviour", "same_port", "other_port", "other_address"),
    [(EASY, True, False, False), (ADDRESS_FILTERING, True, True, False), (FULL_CONE, True, True, True)],
)
def test_filtering(behaviour: Behaviour, same_port: bool, other_port: bool, other_address: bool) -> None:
    home = _Home(behaviour)
    outer = Endpoint.parse(f"{_OUTER}:{_PORT}")
    assert home.got(home.x, 1, outer, home.a) is None  # nobody asked
    assert home.source(home.x, 1) == outer
    assert (home.got(home.x, 1, outer, home.a) is not None) == same_port
    assert (home.got(home.x, 2, outer, home.a) is not None) == other_port
    assert (home.got(home.y, 1, outer, home.a) is not None) == other_address


def test_an_answer_comes_to_the_port_that_asked() -> None:
    home = _Home(HARD)
    answer = home.got(home.x, 1, home.source(home.x, 1), home.a)
    assert answer == Packet(home.x.at(1), home.a.at(_PORT), b"x")


@pytest.mark.parametrize("incoming_refreshes", [True, False])
def test_a_mapping_times_out_unless_it_is_used(incoming_refreshes: bool) -> None:
    home = _Home(replace(SHORT, incoming_refreshes=incoming_refreshes))
    outer = home.source(home.x, 1)
    home.now = 25.0
    assert home.got(home.x, 1, outer, home.a) is not None
    home.now = 50.0  # 25 s after the last packet in, 50 s after the last one out
    assert (home.got(home.x, 1, outer, home.a) is not None) == incoming_refreshes
    home.now = 90.0
    assert home.got(home.x, 1, outer, home.a) is None
    assert home.source(home.x, 1) == outer


def test_filters_time_out_one_by_one() -> None:
    home = _Home(SHORT)
    outer = home.source(home.x, 1)
    for home.now in (20.0, 40.0):
        assert home.source(home.y, 1) == outer
    assert home.got(home.y, 1, outer, home.a) is not None
    assert home.got(home.x, 1, outer, home.a) is None


def test_a_reboot_forgets_everything() -> None:
    home = _Home(HARD)
    before = home.source(home.x, 1)
    assert home.got(home.a, _PORT, home.x.at(1, 6), home.x) is not None
    home.router.forget()
    assert home.got(home.x, 1, before, home.a) is None
    assert home.got(home.x, 1, home.a.at(_PORT, 6), home.a) is None
    assert home.source(home.x, 1) != before


@pytest.mark.parametrize(("behaviour", "passes"), [(EASY, False), (HAIRPIN, True)])
def test_hairpin(behaviour: Behaviour, passes: bool) -> None:
    home = _Home(behaviour)
    home.source(home.x, 1)
    outer_b = home.source(home.x, 1, home.b)
    assert home.got(home.a, _PORT, outer_b, home.b) is None  # b has not spoken to a yet
    home.got(home.b, _PORT, Endpoint.parse(f"{_OUTER}:{_PORT}"), home.a)
    packet = home.got(home.a, _PORT, outer_b, home.b)
    assert (packet is not None) == passes
    if packet is not None:
        assert packet.source == Endpoint.parse(f"{_OUTER}:{_PORT}")


def test_machines_on_one_segment_need_no_router() -> None:
    home = _Home(UDP_BLOCKED)
    packet = home.got(home.a, 1, home.b.at(2), home.b)
    assert packet is not None
    assert packet.source == home.a.at(1)


def test_blocked_udp_opens_and_closes() -> None:
    home = _Home(UDP_BLOCKED)
    assert home.got(home.a, _PORT, home.x.at(1), home.x) is None
    home.router.udp_blocked = False
    outer = home.source(home.x, 1)
    home.router.udp_blocked = True
    assert home.got(home.x, 1, outer, home.a) is None


@pytest.mark.parametrize("behaviour", [EASY, FULL_CONE, HARD])
def test_ipv6_is_not_translated_and_passes_only_in_answer(behaviour: Behaviour) -> None:
    home = _Home(behaviour)
    inner = home.a.at(_PORT, 6)
    assert home.got(home.x, 1, inner, home.a) is None
    packet = home.got(home.a, _PORT, home.x.at(1, 6), home.x)
    assert packet is not None
    assert packet.source == inner
    assert home.got(home.x, 1, inner, home.a) is not None
    assert home.got(home.x, 2, inner, home.a) is None


def test_a_plain_router_passes_all() -> None:
    home = _Home(PLAIN)
    for version in (4, 6):
        assert home.got(home.x, 1, home.a.at(2, version), home.a) is not None
        packet = home.got(home.a, 2, home.x.at(1, version), home.x)
        assert packet is not None
        assert packet.source == home.a.at(2, version)


@pytest.mark.parametrize(
    ("near", "far", "mappings"), [(EASY, EASY, 1), (HARD, EASY, 2), (EASY, HARD, 2), (HARD, HARD, 2)]
)
def test_two_deep_is_as_hard_as_the_harder_of_both(near: Behaviour, far: Behaviour, mappings: int) -> None:
    network = Network()
    internet, carrier, home = network.segment(), network.segment(), network.segment()
    x, y = network.host(internet, "203.0.113.1"), network.host(internet, "203.0.113.2")
    network.router(carrier, internet, _OUTER, far)
    network.router(home, carrier, "100.64.0.2", near)
    a = network.host(home, "192.168.1.2")
    for host in (x, y):
        a.send(_PORT, host.at(1), b"x", 0.0)
    network.run(1.0)
    seen = {packet.source for host in (x, y) for packet in host.received}
    assert {str(source.address) for source in seen} == {_OUTER}
    assert len(seen) == mappings
    x.send(1, x.received[0].source, b"answer", 2.0)
    network.run(3.0)
    assert [packet.payload for packet in a.received] == [b"answer"]


def test_latency_and_a_host_that_answers_by_itself() -> None:
    home = _Home(EASY)
    home.x.on_packet = lambda packet, now: home.x.send(1, packet.source, b"pong", now)
    arrivals: list[float] = []
    home.a.on_packet = lambda _packet, now: arrivals.append(now)
    home.a.send(_PORT, home.x.at(1), b"ping", 0.0)
    assert home.network.next_at == pytest.approx(0.001)
    home.network.run(0.02)
    assert arrivals == []
    home.network.run(0.03)
    assert arrivals == [pytest.approx(0.022)]
    assert home.network.next_at == float("inf")


def test_a_machine_that_moves_has_another_address() -> None:
    home = _Home(EASY)
    elsewhere = home.network.segment()
    home.network.router(elsewhere, home.network.segment(), "203.0.113.10", EASY)
    home.b.move(elsewhere, "192.168.7.2")
    assert home.got(home.a, 1, Endpoint.parse("192.168.1.3:2"), home.b) is None
    assert home.b.at(2) == Endpoint.parse("192.168.7.2:2")


@given(st.sampled_from(sorted(KINDS)), st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=20))
def test_no_two_inner_endpoints_share_an_outer_one(kind: str, sent: list[tuple[int, bool]]) -> None:
    home = _Home(KINDS[kind])
    for number, is_a in sent:
        (home.a if is_a else home.b).send(_PORT, home.x.at(number), b"a" if is_a else b"b", home.now)
    home.network.run(1.0)
    owners: dict[Endpoint, bytes] = {}
    for packet in home.x.received:
        assert owners.setdefault(packet.source, packet.payload) == packet.payload

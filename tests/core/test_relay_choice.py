from ipaddress import IPv4Address, IPv6Address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.relay_samples import LOCAL, MAPPED, OWN, SERVER, World, at, far, lan
from tests.samples import peer, public_key
from wireguard_mesh.core.relay_choice import KEEPALIVE, RelayChoice
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import OWN_RELAY, RelayDistance, RelayId

FIRST, SECOND = OWN.vantage_points
BY_UDP = Endpoint(SERVER, 8080)


def reporting(number: int, distances: dict[str, int]) -> Peer:
    items = tuple(RelayDistance(RelayId(key), value) for key, value in distances.items())
    return msgspec.structs.replace(peer(number), distances=items)


def test_each_vantage_point_is_a_peer_of_the_device() -> None:
    wanted = World().choice.rendezvous_peers(at(0))
    assert set(wanted) == {FIRST.public_key, SECOND.public_key}
    assert wanted[FIRST.public_key].endpoint == BY_UDP
    assert wanted[SECOND.public_key].endpoint == Endpoint(SERVER, 8081)
    assert {(item.keepalive, item.allowed_ips) for item in wanted.values()} == {(KEEPALIVE, frozenset())}


def test_a_relay_whose_place_is_not_known_is_no_peer_yet() -> None:
    choice = RelayChoice()
    choice.follow((OWN,), (), [lan()])
    assert choice.rendezvous_peers(at(0)) == {}
    assert choice.pings(at(0)) == ()


def test_a_relay_serves_as_soon_as_it_answers() -> None:
    world = World()
    assert not world.choice.is_ready(at(0))
    assert world.choice.to(peer(1), peer(2), at(0)) is None
    world.run(0.1)
    assert world.choice.is_ready(world.instant)
    assert world.choice.to(peer(1), peer(2), world.instant) == (OWN_RELAY, BY_UDP)
    assert world.resets == []


def test_says_whose_an_endpoint_is() -> None:
    world = World(OWN, far(1))
    assert world.choice.relay_at(BY_UDP) == OWN_RELAY
    assert world.choice.relay_at(Endpoint.parse("203.0.113.101:8080")) == "r1"
    assert world.choice.relay_at(Endpoint(SERVER, 8081)) is None  # it does not forward
    assert world.choice.relay_at(MAPPED) is None


def test_the_port_of_a_carrier_that_is_gone_is_no_direct_path() -> None:
    assert World(OWN, far(1)).choice.relay_at(LOCAL) == OWN_RELAY
    assert World(far(1)).choice.relay_at(LOCAL) is None


def test_where_a_relay_was_is_no_peer_s_address() -> None:
    world = World(far(1), far(2))
    place = Endpoint.parse("203.0.113.101:8080")
    world.run(0.1)
    world.relays = (far(2),)
    world.follow()
    assert world.choice.relay_at(place) == "r1"
    assert RelayId("r1") not in world.choice.ways(world.instant)
    for number in range(3, 100):
        world.relays = (far(number),)
        world.follow()
    assert world.choice.relay_at(Endpoint.parse("203.0.113.198:8080")) == "r98"
    assert world.choice.relay_at(place) is None


def test_a_relay_without_vantage_points_is_left_out() -> None:
    world = World(msgspec.structs.replace(OWN, vantage_points=()))
    assert world.choice.report(at(0)) == ()
    assert not world.choice.wants_carrier(at(100))


def test_relays_come_and_go() -> None:
    world = World(OWN, far(1))
    world.run(0.1)
    world.relays = (far(1), far(2))
    world.follow()
    assert {item.relay for item in world.choice.report(world.instant)} == {"r1", "r2"}
    assert world.choice.to(peer(1), peer(2), world.instant) == ("r1", Endpoint.parse("203.0.113.101:8080"))


def test_a_relay_with_new_keys_is_another_one() -> None:
    world = World(far(1))
    world.run(0.1)
    world.relays = (msgspec.structs.replace(far(2), id=RelayId("r1")),)
    world.follow()
    assert not world.choice.is_ready(world.instant)


def test_a_relay_that_moves_is_asked_there() -> None:
    world = World(far(1))
    world.run(0.1)
    world.relays = (msgspec.structs.replace(far(1), ipv4=IPv4Address("203.0.113.200")),)
    world.follow()
    wanted = world.choice.rendezvous_peers(world.instant)
    assert {str(item.endpoint) for item in wanted.values()} == {"203.0.113.200:8080", "203.0.113.200:8081"}
    assert len(world.choice.resets()) == 2


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("192.0.2.5", "203.0.113.9:8080"),
        ("2001:db8::5", "[2001:db8::9]:8080"),
    ],
)
def test_is_asked_by_ipv4_where_there_is_any(local: str, expected: str) -> None:
    relay = msgspec.structs.replace(far(1), ipv4=IPv4Address("203.0.113.9"), ipv6=IPv6Address("2001:db8::9"))
    choice = RelayChoice()
    choice.follow((relay,), (), [lan(local)])
    assert str(choice.rendezvous_peers(at(0))[relay.vantage_points[0].public_key].endpoint) == expected


def test_an_address_of_a_family_that_is_lacking_is_better_than_none() -> None:
    choice = RelayChoice()
    choice.follow((far(1),), (), [lan("2001:db8::5")])
    assert len(choice.rendezvous_peers(at(0))) == 2


DISTANCES = st.dictionaries(st.sampled_from(["r1", "r2", "r3", "server", "gone"]), st.integers(1, 300))


@given(DISTANCES, DISTANCES)
def test_both_ends_take_the_same_relay(mine: dict[str, int], theirs: dict[str, int]) -> None:
    world = World(far(3), OWN, far(1), far(2))
    world.run(0.1)
    one, other = reporting(1, mine), reporting(2, theirs)
    chosen = world.choice.to(one, other, world.instant)
    assert chosen == world.choice.to(other, one, world.instant)
    assert chosen is not None
    both = {key: mine[key] + theirs[key] for key in mine if key in theirs and key != "gone"}
    if both:
        assert both[chosen[0]] == min(both.values())
        assert chosen[0] == min(key for key in both if both[key] == min(both.values()))


def test_a_relay_that_an_end_does_not_report_counts_last_and_ties_go_by_name() -> None:
    world = World(far(2), far(1), far(3))
    world.run(0.1)

    def chosen(mine: dict[str, int], theirs: dict[str, int]) -> str:
        found = world.choice.to(reporting(1, mine), reporting(2, theirs), world.instant)
        assert found is not None
        return found[0]

    assert chosen({}, {}) == "r1"
    assert chosen({"r1": 1, "r2": 200}, {"r2": 200}) == "r2"
    assert chosen({"r3": 5}, {}) == "r3"
    assert chosen({"r2": 10, "r3": 20}, {"r2": 20, "r3": 10}) == "r2"


def test_a_dead_relay_is_left_within_five_seconds() -> None:
    world = World(far(1), far(2))
    world.run(31.0)
    both = {"r1": 10, "r2": 50}
    me, other = reporting(1, both), reporting(2, both)
    assert world.choice.to(me, other, world.instant) == ("r1", Endpoint.parse("203.0.113.101:8080"))
    world.choice.need({RelayId("r1")})
    world.run(2.0)
    world.deaf = {point.public_key for point in far(1).vantage_points}
    died = world.now
    world.run(4.9)
    assert world.choice.to(me, other, world.instant) == ("r2", Endpoint.parse("203.0.113.102:8080"))
    assert [item.relay for item in world.choice.distances(world.instant)] == ["r2"]
    assert not world.has_carrier
    # It is back as soon as it answers, with a session of its new life.
    world.deaf.clear()
    world.run(10.0)
    assert world.device.peers[far(1).vantage_points[0].public_key].latest_handshake > at(died).wall
    assert world.choice.to(me, other, world.instant) == ("r1", Endpoint.parse("203.0.113.101:8080"))


def test_says_how_far_a_relay_is() -> None:
    world = World()
    assert world.choice.seconds_to(OWN_RELAY) == 0
    world.choice.ponged(OWN_RELAY, 0, 0.01, MAPPED, world.instant)
    assert world.choice.seconds_to(OWN_RELAY) == 0.01
    assert world.choice.seconds_to(RelayId("unknown")) == 0


def test_one_lost_ping_is_nothing() -> None:
    world = World()
    world.run(10.0)
    for _ in range(2):
        world.choice.missed(OWN_RELAY, 0, world.instant)
    world.choice.ponged(OWN_RELAY, 0, 0.01, MAPPED, world.instant)
    world.choice.missed(OWN_RELAY, 0, world.instant)
    assert world.choice.is_ready(world.instant)


def test_what_is_said_of_relays_that_are_unknown_is_ignored() -> None:
    world = World()
    for relay, number in ((RelayId("r9"), 0), (OWN_RELAY, 2), (OWN_RELAY, -1)):
        world.choice.ponged(relay, number, 0.01, MAPPED, at(0))
        world.choice.missed(relay, number, at(0))
    world.choice.carried(RelayId("r9"), LOCAL, at(0))
    world.choice.carried(OWN_RELAY, None, at(0))
    assert world.choice.rendezvous_peers(at(0))[FIRST.public_key].endpoint == BY_UDP


def test_tells_distances_where_there_is_a_choice_only() -> None:
    world = World()
    world.run(5.0)
    assert world.choice.distances(world.instant) == ()
    world = World(far(1), far(2))
    world.run(5.0)
    assert world.choice.distances(world.instant) == (
        RelayDistance(RelayId("r1"), 18),
        RelayDistance(RelayId("r2"), 18),
    )


def test_a_session_that_nothing_renews_ends() -> None:
    world = World()
    world.run(10.0)
    world.udp = False
    assert world.choice.next_at(world.instant) == pytest.approx(180.1)
    world.run(100.0)
    assert world.choice.is_ready(world.instant)
    world.run(71.0)
    assert not world.choice.is_ready(world.instant)


def test_a_session_that_stood_before_this_program_serves_at_once() -> None:
    before = World()
    before.run(10.0)
    world = World()
    world.now = 50.0
    world.choice.observed(before.device, world.instant)
    assert world.choice.is_ready(world.instant)
    world.choice.observed(before.device, at(181.0))
    assert not world.choice.is_ready(at(181.0))


def test_reports_how_it_stands() -> None:
    world = World()
    world.run(0.1)
    world.choice.ponged(OWN_RELAY, 1, 0.03, MAPPED, world.instant)
    first, second = world.choice.report(world.instant)
    assert (first.relay, first.vantage, first.endpoint, first.answers) == (OWN_RELAY, 0, BY_UDP, True)
    assert (second.public_key, second.seconds, second.mapped) == (public_key(501), 0.03, MAPPED)
    assert not first.is_carried


def test_a_change_of_the_network_makes_sessions_anew_and_goes_on_meanwhile() -> None:
    world = World()
    world.run(10.0)
    world.follow()
    assert world.choice.resets() == ()
    world.follow("198.51.100.5")
    assert world.choice.next_at(world.instant) == world.now
    world.udp = False
    world.turn()
    assert set(world.resets) == {FIRST.public_key, SECOND.public_key}
    assert world.choice.to(peer(1), peer(2), world.instant) == (OWN_RELAY, BY_UDP)
    world.udp = True
    world.run(0.5)
    assert world.choice.is_ready(world.instant)
    assert not world.has_carrier


def test_a_device_that_does_not_have_the_peers_yet_blames_nobody() -> None:
    world = World()
    world.choice.observed(world.device, at(0))
    assert not world.choice.wants_carrier(at(100))
    assert world.choice.next_at(at(0)) == float("inf")

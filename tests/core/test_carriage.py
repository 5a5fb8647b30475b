"""UDP that is blocked, that opens again, that lies; in time that passes by argument."""

import msgspec

from tests.core.relay_samples import LOCAL, OWN, SERVER, World, at, far, lan
from tests.samples import peer
from wireguard_mesh.core.carriage import CERTAIN, LINGER, PATIENCE
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.relays import OWN_RELAY

FIRST, SECOND = OWN.vantage_points
BY_UDP = Endpoint(SERVER, 8080)


def blocked() -> World:
    """A world whose UDP is blocked from the start, carried."""
    world = World()
    world.udp = False
    world.run(4.0)
    assert carries(world)
    return world


def carries(world: World) -> bool:
    return world.has_carrier


def way(world: World) -> Endpoint | None:
    found = world.choice.to(peer(1), peer(2), world.instant)
    return found[1] if found else None


def test_udp_that_brings_nothing_is_given_time_and_then_a_carrier_is_wanted() -> None:
    world = World(carrier_starts=False)
    world.udp = False
    world.run(PATIENCE - 0.1)
    assert not world.choice.wants_carrier(world.instant)
    assert world.choice.next_at(world.instant) <= 0.1 + PATIENCE
    world.run(0.3)
    assert world.choice.wants_carrier(world.instant)
    assert not world.choice.is_ready(world.instant)  # the server does not answer either, so nothing is judged yet
    world.udp = True
    world.run(10.0)
    assert not world.choice.wants_carrier(world.instant)


def after_restart(before: World) -> World:
    """Another program, which finds the device of the one before."""
    world = World(carrier_starts=False)
    world.peers, world.now, world.udp = before.peers, before.now, before.udp
    world.choice.observed(world.device, world.instant)
    return world


def test_a_program_that_follows_on_one_with_a_carrier_wants_another_at_once() -> None:
    world = after_restart(blocked())
    assert world.choice.wants_carrier(world.instant)
    world.udp = True
    world.run(1.0)
    assert not world.choice.wants_carrier(world.instant)
    world.udp = False
    world.run(400.0)
    assert world.choice.wants_carrier(world.instant)


def test_on_another_network_udp_has_its_time_though_a_program_before_had_a_carrier() -> None:
    world = after_restart(blocked())
    world.follow("198.51.100.5")
    world.run(PATIENCE - 0.2)
    assert not world.choice.wants_carrier(world.instant)


def test_udp_is_called_blocked_when_the_server_answered_long_enough_without_it() -> None:
    world = World(carrier_starts=False)
    world.udp = False
    world.run(60.0)
    assert not world.choice.is_udp_blocked(world.instant), "the server may be down"
    world = blocked()
    assert not world.choice.is_udp_blocked(world.instant)
    world.run(CERTAIN)
    assert world.choice.is_udp_blocked(world.instant)
    world.udp = True
    world.run(10.0)
    assert not world.choice.is_udp_blocked(world.instant)


def test_a_server_that_is_back_by_udp_in_time_does_not_count_as_blocked() -> None:
    world = blocked()
    world.udp = True
    for _ in range(20):
        world.run(1.0)
        assert not world.choice.is_udp_blocked(world.instant)


def test_a_handshake_that_does_not_come_is_begun_anew_before_wireguard_does_it() -> None:
    world = World(carrier_starts=False)
    world.udp = False
    world.run(2.0)
    assert world.resets.count(FIRST.public_key) == 2


def test_without_a_relay_that_can_be_carried_none_is_wanted() -> None:
    world = World(far(1))
    world.udp = False
    world.run(20.0)
    assert not carries(world)


def test_the_first_vantage_point_is_asked_by_the_carrier_the_second_by_udp() -> None:
    world = blocked()
    wanted = world.choice.rendezvous_peers(world.instant)
    assert wanted[FIRST.public_key].endpoint == LOCAL
    assert wanted[SECOND.public_key].endpoint == Endpoint(SERVER, 8081)
    assert way(world) == LOCAL
    assert world.choice.relay_at(LOCAL) == OWN_RELAY
    assert world.choice.report(world.instant)[0].is_carried
    world.run(400.0)
    assert way(world) == LOCAL


def test_udp_that_opens_is_returned_to() -> None:
    world = blocked()
    world.udp = True
    world.run(4.0)
    assert way(world) == BY_UDP
    assert carries(world)  # what is under way arrives
    assert world.choice.next_at(world.instant) <= world.now + LINGER
    assert world.choice.relay_at(LOCAL) == OWN_RELAY
    world.run(LINGER)
    assert not carries(world)
    assert way(world) == BY_UDP
    assert world.choice.rendezvous_peers(world.instant)[FIRST.public_key].endpoint == BY_UDP


def test_no_moment_is_without_a_way_when_udp_opens() -> None:
    world = blocked()
    world.udp = True
    for _ in range(150):
        world.run(0.1)
        assert way(world) in {LOCAL, BY_UDP}
    assert way(world) == BY_UDP


def test_udp_that_is_blocked_later_is_found_out_while_a_pair_needs_it() -> None:
    world = World()
    world.run(30.0)
    world.choice.need({OWN_RELAY})
    world.udp = False
    world.run(6.0)
    assert way(world) == LOCAL


def test_udp_that_opens_for_the_second_vantage_point_only_is_not_tried_all_the_time() -> None:
    world = blocked()
    world.udp = True
    world.deaf = {FIRST.public_key}
    lost = 0
    world.resets.clear()
    for _ in range(3000):
        world.run(0.1)
        lost += way(world) != LOCAL
    assert lost == 0
    assert world.resets.count(FIRST.public_key) < 40
    world.deaf.clear()
    world.run(650.0)
    assert way(world) == BY_UDP


def test_where_pings_pass_and_wireguard_does_not_a_carrier_is_wanted_all_the_same() -> None:
    world = World()
    world.blocks_wireguard = True
    world.run(7.0)
    assert not carries(world)
    world.run(3.0)
    assert carries(world)
    assert way(world) == LOCAL
    world.resets.clear()
    world.run(600.0)
    assert way(world) == LOCAL
    assert len(world.resets) < 20


def test_a_relay_with_one_vantage_point_is_returned_to_by_pings() -> None:
    world = World(msgspec.structs.replace(OWN, vantage_points=(FIRST,)))
    world.udp = False
    world.run(5.0)
    assert way(world) == LOCAL
    world.udp = True
    world.run(5.0)
    assert way(world) == BY_UDP


def test_a_carrier_that_breaks_is_wanted_again_and_the_relay_learns_of_the_next() -> None:
    world = blocked()
    world.choice.carried(None, None, world.instant)
    assert way(world) is None
    assert world.choice.wants_carrier(world.instant)
    world.resets.clear()
    world.choice.carried(OWN_RELAY, LOCAL, world.instant, seconds=0.05)
    world.run(0.2)
    assert FIRST.public_key in world.resets
    assert way(world) == LOCAL
    world.resets.clear()
    world.choice.carried(OWN_RELAY, LOCAL, world.instant)
    assert way(world) is None
    world.run(0.2)
    assert FIRST.public_key in world.resets
    assert way(world) == LOCAL


def test_a_carrier_that_ends_while_udp_is_tried_again_leaves_that_alone() -> None:
    world = blocked()
    world.udp = True
    world.deaf = {FIRST.public_key}
    while world.choice.rendezvous_peers(world.instant)[FIRST.public_key].endpoint == LOCAL:
        world.run(0.1)
    world.turn()
    assert world.choice.next_at(world.instant) <= world.now + PATIENCE
    world.choice.resets()
    world.choice.carried(None, None, world.instant)
    assert world.choice.resets() == ()


def test_another_network_is_judged_anew() -> None:
    world = blocked()
    world.udp = True
    world.follow("198.51.100.9")
    world.run(4.0)
    assert way(world) == BY_UDP


def test_a_relay_elsewhere_that_answers_by_udp_makes_the_carrier_needless() -> None:
    world = World(OWN, far(1))
    world.udp = False
    world.run(5.0)
    assert carries(world)
    assert [item.relay for item in world.choice.distances(world.instant)] == [OWN_RELAY]
    world.udp = True
    world.deaf = {FIRST.public_key, SECOND.public_key}
    world.run(60.0)
    assert not carries(world)
    assert way(world) == Endpoint.parse("203.0.113.101:8080")


def test_a_carrier_to_a_relay_that_left_is_none() -> None:
    world = blocked()
    world.relays = (far(1),)
    world.follow()
    assert world.choice.relay_at(LOCAL) is None
    world.follow()
    assert world.choice.carried_relay is None


def test_a_carrier_stays_with_a_relay_that_stays() -> None:
    world = blocked()
    world.relays = (OWN, far(1))
    world.follow()
    assert world.choice.relay_at(LOCAL) == OWN_RELAY


def test_a_relay_whose_place_is_known_to_a_proxy_only_is_carried() -> None:
    world = World()
    world.udp = False
    world.choice.follow((OWN,), (), [lan()])
    world.run(4.0)
    assert way(world) == LOCAL


def test_a_relay_whose_place_becomes_known_is_given_time() -> None:
    world = World(carrier_starts=False)
    world.choice.follow((OWN,), (), [lan()])
    world.run(10.0)
    assert world.choice.wants_carrier(world.instant)
    world.follow()
    assert not world.choice.wants_carrier(world.instant)
    world.run(0.5)
    assert way(world) == BY_UDP


def test_a_session_by_the_carrier_of_a_program_that_ended_is_none() -> None:
    world = World()
    stale = ObservedPeer(
        public_key=FIRST.public_key,
        endpoint=Endpoint.parse("127.0.0.1:41234"),
        latest_handshake=at(-10.0).wall,
    )
    device = ObservedDevice(name=InterfaceName("wg0"), backend=BackendKind.KERNEL, peers={FIRST.public_key: stale})
    world.choice.observed(device, at(0.0))
    assert not world.choice.is_ready(at(0.0))
    assert world.choice.wants_carrier(at(PATIENCE))

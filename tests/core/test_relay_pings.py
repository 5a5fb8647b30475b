import itertools

from tests.core.relay_samples import OWN, World, far
from wireguard_mesh.core.relay_pings import DISTANCE_GAP, LONGEST_GAP, NEEDED_GAP, RETURN_GAP
from wireguard_mesh.model.relays import OWN_RELAY, RelayId

FIRST, SECOND = (point.public_key for point in OWN.vantage_points)


def times(world: World, since: float = 0.0, vantage: int = 0, relay: str = OWN_RELAY) -> list[float]:
    return [at for at, ping in world.pings if (ping.relay, ping.vantage) == (relay, vantage) and at > since]


def gaps(moments: list[float]) -> list[float]:
    return [round(later - earlier, 1) for earlier, later in itertools.pairwise(moments)]


def test_one_relay_that_nobody_needs_is_not_pinged() -> None:
    world = World()
    world.run(110.0)
    assert world.pings == []
    assert world.choice.next_ping_at(world.instant) == float("inf")


def test_a_relay_that_a_pair_needs_is_pinged_often() -> None:
    world = World()
    world.run(5.0)
    world.choice.need({OWN_RELAY})
    assert world.choice.next_ping_at(world.instant) == world.now
    world.run(10.0)
    assert set(gaps(times(world))) == {NEEDED_GAP}
    assert times(world, vantage=1) == []
    world.choice.need(())
    count = len(world.pings)
    world.run(10.0)
    assert len(world.pings) == count


def test_several_relays_are_pinged_for_their_distance() -> None:
    world = World(far(1), far(2))
    world.run(100.0)
    for relay in ("r1", "r2"):
        assert set(gaps(times(world, relay=relay))) == {DISTANCE_GAP}


def test_a_dead_relay_is_pinged_less_and_less_often() -> None:
    world = World(carrier_starts=False)
    world.run(5.0)
    world.choice.need({OWN_RELAY})
    world.udp = False
    world.run(100.0)
    found = gaps(times(world))
    assert found[0] == NEEDED_GAP
    assert found[-1] == LONGEST_GAP


def test_while_datagrams_are_carried_the_second_vantage_point_is_pinged() -> None:
    world = World()
    world.udp = False
    world.run(30.0)
    assert times(world, since=5.0) == []
    assert set(gaps(times(world, since=5.0, vantage=1))) == {RETURN_GAP}


def test_what_is_pinged_has_its_key_and_place() -> None:
    world = World(far(1))
    world.choice.need({RelayId("r1")})
    (ping,) = world.choice.pings(world.instant)
    assert (ping.relay, ping.vantage, str(ping.endpoint)) == ("r1", 0, "203.0.113.101:8080")
    assert ping.public_key == far(1).vantage_points[0].public_key
    assert world.choice.pings(world.instant) == ()

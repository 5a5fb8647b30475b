"""What a relay sees of peers and has yet to tell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.samples import public_key
from wireguard_mesh.core.sightings import Sightings
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.protocol.relay_api import MAX_OBSERVATIONS, Observation


def seen(number: int, port: int | None, vantage: int = 0) -> Observation:
    endpoint = None if port is None else Endpoint.parse(f"198.51.100.7:{port}")
    return Observation(public_key=public_key(number), vantage=vantage, endpoint=endpoint)


def sightings(*numbers: int) -> Sightings:
    one = Sightings()
    one.registered([public_key(number) for number in numbers])
    return one


def test_the_newest_is_told_until_it_is_known() -> None:
    one = sightings(1, 2)
    assert not one.has_news
    one.observe(seen(1, 1000))
    one.observe(seen(1, 1000, vantage=1))
    one.observe(seen(1, 2000))
    told = one.next()
    assert set(told) == {seen(1, 2000), seen(1, 1000, vantage=1)}
    one.observe(seen(1, 3000))  # while the heartbeat is under way
    one.told(told)
    assert one.next() == (seen(1, 3000),)
    one.told(one.next())
    assert not one.has_news
    one.observe(seen(1, 3000))
    assert not one.has_news
    one.observe(seen(1, None))
    assert one.next() == (seen(1, None),)


def test_what_is_seen_of_strangers_is_dropped() -> None:
    one = sightings(1)
    one.observe(seen(2, 1000))
    assert not one.has_news
    one.observe(seen(1, 1000))
    one.registered([public_key(2)])
    assert not one.has_news
    one.repeat()
    assert not one.has_news


def test_after_a_restart_of_the_server_all_is_told_again() -> None:
    one = sightings(1, 2)
    one.observe(seen(1, 1000))
    one.observe(seen(2, 1000))
    one.told(one.next())
    one.repeat()
    assert set(one.next()) == {seen(1, 1000), seen(2, 1000)}


def test_one_heartbeat_tells_so_much_and_the_next_one_the_rest() -> None:
    numbers = range(1, MAX_OBSERVATIONS + 4)
    one = sightings(*numbers)
    for number in numbers:
        one.observe(seen(number, 1000))
    first = one.next()
    assert len(first) == MAX_OBSERVATIONS
    one.told(first)
    assert len(one.next()) == 3
    assert not set(first) & set(one.next())


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1), st.sampled_from([None, 1000, 2000]), st.booleans())))
def test_the_server_ends_with_what_is_seen(events: list[tuple[int, int, int | None, bool]]) -> None:
    one, known = sightings(1, 2, 3), {}
    newest = {}
    for number, vantage, port, is_told in events:
        observation = seen(number, port, vantage)
        one.observe(observation)
        if number != 4:
            newest[number, vantage] = observation
        if is_told:
            told = one.next()
            known.update({(item.public_key, item.vantage): item for item in told})
            one.told(told)
    known.update({(item.public_key, item.vantage): item for item in one.next()})
    assert known == {(public_key(number), vantage): item for (number, vantage), item in newest.items()}

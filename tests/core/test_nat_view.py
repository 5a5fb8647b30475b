"""What relays see of peers, and what that says of NATs."""

from __future__ import annotations

import msgspec
import pytest

from tests.core.samples import empty, public_key, register
from wireguard_mesh.core.nat_view import MAX_REFLEXIVE, NatView
from wireguard_mesh.core.registry import decide
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import NatClass, RelayId
from wireguard_mesh.protocol.relay_api import Observation

KEY = public_key(1)
ONE, OTHER = RelayId("one"), RelayId("other")


def peer(*endpoints: str) -> Peer:
    return decide(empty(), [register(1, endpoints=endpoints)], 0.0).snapshot.record(KEY).peer


def seen(vantage: int, text: str | None, *, over_web: bool = False) -> Observation:
    endpoint = None if text is None else Endpoint.parse(text)
    return Observation(public_key=KEY, vantage=vantage, endpoint=endpoint, over_web=over_web)


def view(*sights: tuple[RelayId, int, str | None]) -> NatView:
    made = NatView()
    for relay, vantage, text in sights:
        assert made.observe(relay, seen(vantage, text))
    return made


def texts(endpoints: tuple[Endpoint, ...]) -> list[str]:
    return [str(endpoint) for endpoint in endpoints]


def test_nothing_is_known_of_who_was_not_seen() -> None:
    assert NatView().of(peer()) == ((), NatClass.UNKNOWN)


@pytest.mark.parametrize("second", [(ONE, 1), (OTHER, 0)])
def test_one_mapping_for_all_is_easy_and_two_are_hard(second: tuple[RelayId, int]) -> None:
    easy = view((ONE, 0, "192.0.2.1:7"), (*second, "192.0.2.1:7"))
    assert easy.of(peer()) == ((Endpoint.parse("192.0.2.1:7"),), NatClass.EASY)
    hard = view((ONE, 0, "192.0.2.1:7"), (*second, "192.0.2.1:8"))
    reflexive, nat = hard.of(peer())
    assert (texts(reflexive), nat) == (["192.0.2.1:8", "192.0.2.1:7"], NatClass.HARD)


def test_one_vantage_point_cannot_tell_but_does_not_unsay_it_either() -> None:
    one = view((ONE, 0, "192.0.2.1:7"))
    assert one.of(peer()) == ((Endpoint.parse("192.0.2.1:7"),), NatClass.UNKNOWN)
    known = msgspec.structs.replace(peer(), nat=NatClass.EASY, reflexive=(Endpoint.parse("192.0.2.1:7"),))
    assert one.of(known)[1] is NatClass.EASY
    assert view((ONE, 0, "192.0.2.1:9")).of(known)[1] is NatClass.UNKNOWN


def test_who_is_seen_at_its_own_address_is_public() -> None:
    assert view((ONE, 0, "192.0.2.1:7")).of(peer("192.0.2.1:7"))[1] is NatClass.PUBLIC
    assert view((ONE, 0, "192.0.2.1:7")).of(peer("192.0.2.1:8"))[1] is NatClass.UNKNOWN


def test_ipv4_decides_where_there_is_some() -> None:
    both = view((ONE, 0, "192.0.2.1:7"), (ONE, 1, "192.0.2.1:7"), (OTHER, 0, "[2001:db8::1]:7"))
    assert both.of(peer("[2001:db8::1]:7"))[1] is NatClass.EASY
    assert view((OTHER, 0, "[2001:db8::1]:7")).of(peer("[2001:db8::1]:7"))[1] is NatClass.PUBLIC


def test_who_comes_by_websocket_only_is_blocked() -> None:
    blocked = NatView()
    assert blocked.observe(ONE, seen(0, None, over_web=True))
    assert blocked.of(peer()) == ((), NatClass.BLOCKED)
    assert blocked.observe(ONE, seen(1, "192.0.2.1:7"))
    assert blocked.of(peer())[1] is NatClass.UNKNOWN


def test_only_news_is_news_and_who_is_heard_no_more_is_forgotten() -> None:
    one = view((ONE, 0, "192.0.2.1:7"))
    assert KEY in one
    assert not one.observe(ONE, seen(0, "192.0.2.1:7"))
    assert one.observe(ONE, seen(0, None))
    assert KEY not in one


def test_peers_and_relays_that_left_are_forgotten() -> None:
    both = view((ONE, 0, "192.0.2.1:7"), (OTHER, 0, "192.0.2.1:8"))
    both.keep_relays({OTHER})
    assert texts(both.of(peer())[0]) == ["192.0.2.1:8"]
    both.keep_relays(set())
    assert KEY not in both
    gone = view((ONE, 0, "192.0.2.1:7"))
    gone.forget(KEY)
    gone.forget(KEY)
    assert KEY not in gone


def test_candidates_are_bounded() -> None:
    many = view(*((RelayId(f"relay-{number}"), 0, f"192.0.2.1:{number}") for number in range(1, 20)))
    assert len(many.of(peer())[0]) == MAX_REFLEXIVE

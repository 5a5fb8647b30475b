"""Which relays there may be."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from tests.core.samples import public_key, relay
from wireguard_mesh.core.commands import DropRelay, PutRelay
from wireguard_mesh.core.relay_table import RelayTable
from wireguard_mesh.model.errors import Conflict, Exhausted, NotFound
from wireguard_mesh.model.relays import MAX_RELAYS, Relay, RelayId, VantagePoint


@dataclass
class Change:
    added: tuple[Relay, ...]
    dropped: tuple[RelayId, ...]


def table(*standing: Relay) -> RelayTable:
    return RelayTable(standing)


def put(relays: RelayTable, one: Relay, *, by_force: bool = False) -> Change:
    assert relays.put(PutRelay(relay=one, by_force=by_force), ()) == one
    return Change(relays.added(), relays.dropped())


def test_relays_are_in_the_order_of_their_names() -> None:
    relays = table(relay(3))
    assert put(relays, relay(2)) == Change((relay(2),), ())
    assert relays.is_changed
    assert relays.all() == (relay(2), relay(3))


def test_a_relay_that_says_the_same_changes_nothing() -> None:
    relays = table(relay(1))
    assert put(relays, relay(1)) == Change((), ())
    assert not relays.is_changed


def test_a_relay_may_change_all_but_its_key() -> None:
    assert put(table(relay(1)), relay(1, port=90)) == Change((relay(1, port=90),), ())
    other = relay(2, name="relay-1")
    with pytest.raises(Conflict, match="another relay relay-1"):
        put(table(relay(1)), other)
    assert put(table(relay(1)), other, by_force=True) == Change((other,), ())


def test_a_relay_with_another_name_has_the_old_one_no_more() -> None:
    renamed = relay(1, name="fra-1")
    assert put(table(relay(1)), renamed) == Change((renamed,), (relay(1).id,))


def test_each_key_is_used_once() -> None:
    first, second = relay(1).vantage_points
    twice = msgspec.structs.replace(relay(1), vantage_points=(first, first))
    for bad in (twice, msgspec.structs.replace(relay(1), vantage_points=())):
        with pytest.raises(Conflict, match="key of its own"):
            put(table(), bad)
    borrowed = msgspec.structs.replace(relay(2), vantage_points=(VantagePoint(public_key(502), 1), second))
    with pytest.raises(Conflict, match="another relay's"):
        put(table(relay(1)), borrowed)
    with pytest.raises(Conflict, match="that of a peer"):
        table().put(PutRelay(relay=relay(1)), {public_key(601)})
    for seed in (501, 601):
        with pytest.raises(Conflict, match="that of a relay"):
            table(relay(1)).refuse_key(public_key(seed))
    table(relay(1)).refuse_key(public_key(1))


def test_there_are_no_more_than_agents_can_keep_in_touch_with() -> None:
    relays = table(*map(relay, range(MAX_RELAYS)))
    with pytest.raises(Exhausted, match=f"{MAX_RELAYS} relays"):
        put(relays, relay(50))
    put(relays, relay(1, name="renamed"))
    put(relays, relay(2, port=90))
    assert len(relays.all()) == MAX_RELAYS


def test_only_what_is_there_can_be_dropped() -> None:
    relays = table(relay(1))
    assert relays.drop(DropRelay(id=relay(1).id)) == relay(1)
    assert (relays.all(), relays.dropped()) == ((), (relay(1).id,))
    with pytest.raises(NotFound):
        relays.drop(DropRelay(id=relay(1).id))

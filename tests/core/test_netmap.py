"""Applying updates; that any sequence of them gives the right map is shown in test_changes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec
import pytest

from tests.core.samples import EPOCH, empty, public_key, register
from wireguard_mesh.core import netmap
from wireguard_mesh.core.changes import changes_since
from wireguard_mesh.core.commands import Leave
from wireguard_mesh.core.registry import decide
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import MapVersion, NetworkMap
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind

SNAPSHOT = decide(empty(), [register(1), register(2)], 0.0).snapshot
WHOLE = changes_since(SNAPSHOT, public_key(1), None)


def apply(have: NetworkMap | None, update: MapUpdate) -> NetworkMap:
    return netmap.apply(have, update, public_key(1))


MAP = apply(None, WHOLE)


def test_a_snapshot_stands_for_itself() -> None:
    assert MAP.me.public_key == public_key(1)
    assert list(MAP.peers) == [public_key(2)]
    assert apply(MAP, WHOLE) == MAP


def test_current_is_the_very_map_that_stands() -> None:
    current = changes_since(SNAPSHOT, public_key(1), MapVersion(EPOCH, 1))
    assert apply(MAP, current) is MAP


def test_current_at_a_later_revision_moves_on() -> None:
    later = MapUpdate(kind=UpdateKind.CURRENT, epoch=EPOCH, revision=9)
    assert apply(MAP, later) == msgspec.structs.replace(MAP, revision=9)


def test_a_machine_that_left_and_came_back_is_there() -> None:
    back = decide(SNAPSHOT, [Leave(public_key=public_key(2), signed=True)], 0.0).snapshot
    back = decide(back, [register(2, random=bytes(range(32)))], 0.0).snapshot
    after = apply(MAP, changes_since(back, public_key(1), MapVersion(EPOCH, 1)))
    assert after.peers[public_key(2)].id == back.record(public_key(2)).peer.id != MAP.peers[public_key(2)].id


def test_a_snapshot_without_its_owner_or_its_network_is_refused() -> None:
    with pytest.raises(InvalidValue, match="lacks this machine"):
        apply(None, msgspec.structs.replace(WHOLE, upsert=WHOLE.upsert[1:]))
    with pytest.raises(InvalidValue, match="lacks its network"):
        apply(None, msgspec.structs.replace(WHOLE, network=None))


def test_who_is_removed_without_being_told_anew_has_no_map() -> None:
    with pytest.raises(InvalidValue, match="lacks this machine"):
        apply(MAP, MapUpdate(kind=UpdateKind.DELTA, epoch=EPOCH, revision=2, remove=(MAP.me.id,)))


def test_a_change_of_its_own_is_its_own() -> None:
    changed = decide(SNAPSHOT, [register(1, hostname="new")], 0.0).snapshot
    after = apply(MAP, changes_since(changed, public_key(1), MAP.version))
    assert after.me.hostname == "new"
    assert after.peers == MAP.peers


def test_addresses_may_pass_from_one_to_another_within_one_update() -> None:
    first, second = (msgspec.structs.replace(peer, revision=2) for peer in WHOLE.upsert)
    swapped = (
        msgspec.structs.replace(first, ipv4=second.ipv4, ipv6=second.ipv6),
        msgspec.structs.replace(second, ipv4=first.ipv4, ipv6=first.ipv6),
    )
    after = apply(MAP, MapUpdate(kind=UpdateKind.DELTA, epoch=EPOCH, revision=2, upsert=swapped))
    assert after.me.ipv4 == second.ipv4
    assert after.holders == {
        second.ipv4: public_key(1), second.ipv6: public_key(1), first.ipv4: public_key(2), first.ipv6: public_key(2)
    }  # fmt: skip


def test_a_map_from_elsewhere_is_checked_too() -> None:
    bare = msgspec.structs.replace(MAP, holders={})
    _, thief = _with_peer(public_key=public_key(3), ipv4=MAP.me.ipv4).upsert
    with pytest.raises(InvalidValue, match="another one has too"):
        apply(bare, MapUpdate(kind=UpdateKind.DELTA, epoch=EPOCH, revision=9, upsert=(thief,)))
    assert apply(bare, changes_since(SNAPSHOT, public_key(1), MAP.version)) is bare


def test_one_address_is_never_let_go_of_by_another_than_its_holder() -> None:
    left = MapUpdate(kind=UpdateKind.DELTA, epoch=EPOCH, revision=2, remove=(MAP.peers[public_key(2)].id,))
    odd = msgspec.structs.replace(MAP, holders={**MAP.holders, MAP.peers[public_key(2)].ipv4: public_key(1)})
    assert apply(odd, left).holders[MAP.peers[public_key(2)].ipv4] == public_key(1)


@pytest.mark.parametrize(("epoch", "revision"), [("other", 5), (EPOCH, 0)])
def test_a_delta_that_does_not_follow_is_refused(epoch: str, revision: int) -> None:
    delta = MapUpdate(kind=UpdateKind.DELTA, epoch=epoch, revision=revision)
    with pytest.raises(InvalidValue, match="follow"):
        apply(MAP, delta)
    with pytest.raises(InvalidValue, match="follow"):
        apply(None, delta)


def _with_peer(**changes: object) -> MapUpdate:
    me, other = WHOLE.upsert
    return msgspec.structs.replace(WHOLE, upsert=(me, msgspec.structs.replace(other, **changes)))


def _in_network(ipv4: str, ipv6: str) -> MapUpdate:
    return msgspec.structs.replace(WHOLE, network=MeshNetwork(IPv4Network(ipv4), IPv6Network(ipv6)))


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (_in_network("8.8.0.0/16", "fd00:1::/64"), "8.8.0.0/16 is not private"),
        (_in_network("0.0.0.0/0", "fd00:1::/64"), "0.0.0.0/0 is not private"),
        (_in_network("10.100.0.0/16", "2001:4860::/64"), "not within fd00::/8"),
        (_with_peer(ipv4=IPv4Address("192.0.2.1")), "outside of"),
        (_with_peer(ipv6=IPv6Address("2001:db8::1")), "outside of"),
        (_with_peer(ipv4=MAP.me.ipv4), "another one has too"),
        (_with_peer(ipv6=MAP.me.ipv6), "another one has too"),
    ],
)
def test_a_map_reaches_for_nothing_outside_of_the_mesh(update: MapUpdate, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        apply(None, update)


def test_a_change_is_judged_as_a_whole_map_is() -> None:
    _, thief = _with_peer(public_key=public_key(3)).upsert
    delta = MapUpdate(kind=UpdateKind.DELTA, epoch=EPOCH, revision=9, upsert=(thief,))
    with pytest.raises(InvalidValue, match="another one has too"):
        apply(MAP, delta)

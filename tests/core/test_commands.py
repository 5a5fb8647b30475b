"""What a peer says of itself, and what becomes of its record."""

from __future__ import annotations

import pytest

from tests.core.samples import empty, observe, public_key, register
from wireguard_mesh.core.commands import (
    Heartbeat,
    MarkOffline,
    after_heartbeat,
    after_observe,
    after_register,
    check_signed,
    heartbeat_changes,
    says_anew,
)
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import NotPermitted
from wireguard_mesh.model.relays import NatClass, RelayDistance, RelayId

ENDPOINT = Endpoint.parse("192.0.2.1:51820")
FAR = (RelayDistance(RelayId("far"), 100),)
KEY = public_key(1)


def joined() -> Record:
    return decide(empty(), [register(1)], 0.0).snapshot.record(KEY)


def heartbeat(*, signed: bool = True, endpoints: tuple[Endpoint, ...] | None = None) -> Heartbeat:
    return Heartbeat(public_key=KEY, signed=signed, endpoints=endpoints)


def test_only_what_others_are_told_is_saying_anew() -> None:
    offline = decide(empty(), [register(1), MarkOffline(public_key=KEY)], 1.0).snapshot.record(KEY)
    for same in (register(1), register(1, version="2"), heartbeat(), heartbeat(endpoints=())):
        assert not says_anew(offline, same)  # being back is none of its doing
    for other in (register(1, hostname="new"), register(1, exit_node=True), heartbeat(endpoints=(ENDPOINT,))):
        assert says_anew(offline, other)
    with pytest.raises(NotPermitted):
        says_anew(offline, register(1, signed=False))


def test_what_routers_and_relays_tell_a_peer_comes_with_its_heartbeat() -> None:
    beat = Heartbeat(public_key=KEY, signed=True, mapped=(ENDPOINT,), distances=FAR)
    record = after_heartbeat(joined(), beat)
    assert (record.peer.mapped, record.peer.distances) == ((ENDPOINT,), FAR)
    assert heartbeat_changes(joined(), beat)
    assert not heartbeat_changes(record, beat)
    assert after_heartbeat(record, heartbeat()) == record  # what it does not say stays
    assert after_register(record, register(1)) == record
    gone = Heartbeat(public_key=KEY, signed=True, mapped=(), distances=())
    assert after_heartbeat(record, gone) == joined()


def test_an_observation_is_no_sign_of_life() -> None:
    offline = decide(empty(), [register(1), MarkOffline(public_key=KEY)], 1.0).snapshot.record(KEY)
    peer = after_observe(offline, observe(1, "192.0.2.1:51820", nat=NatClass.EASY)).peer
    assert (peer.reflexive, peer.nat, peer.online) == ((ENDPOINT,), NatClass.EASY, False)


def test_a_plain_request_cannot_speak_for_a_key_that_signed() -> None:
    check_signed(joined(), True)
    with pytest.raises(NotPermitted, match="signs its requests"):
        check_signed(joined(), False)
    with pytest.raises(NotPermitted):
        heartbeat_changes(joined(), heartbeat(signed=False))

"""Which advice comes when; the words for each pair of NATs are in `test_explaining`."""

import msgspec

from tests.core.test_pairs import RELAY, SILENT_RELAY, V4, pair, trial
from wireguard_mesh.core.advising import advice
from wireguard_mesh.core.pairs import Pair
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.status import State


def stopped(given: Pair) -> Pair:
    return Pair(msgspec.structs.replace(given.status, state=State.STOPPED), given.peer, given.wall)


def of(given: Pair, nat: NatClass) -> Pair:
    peer = msgspec.structs.replace(given.peer, nat=nat)
    status = msgspec.structs.replace(given.status, nat=msgspec.structs.replace(given.status.nat, kind=nat))
    return Pair(status, peer, given.wall)


def test_an_agent_that_is_stopped_comes_before_all_else() -> None:
    assert list(advice(stopped(pair(relays=(SILENT_RELAY,))))) == ["Start the agent here: vpn-client up"]


def test_a_direct_path_needs_none() -> None:
    assert list(advice(pair(kind=PathKind.DIRECT))) == []


def test_relays_come_before_nats() -> None:
    first, *more = advice(of(pair(trial(V4), relays=(SILENT_RELAY,)), NatClass.HARD))
    assert "whether the relay server runs" in first
    assert len(more) == 2
    (only,) = advice(of(pair(relays=(RELAY,)), NatClass.BLOCKED))
    assert only.startswith("Let UDP out of this machine's network, at least to the relays (203.0.113.1:8080)")


def test_a_mesh_without_any() -> None:
    first, *_ = advice(pair(kind=PathKind.NONE))
    assert "vpn-server without -udp off, or vpn-relay" in first

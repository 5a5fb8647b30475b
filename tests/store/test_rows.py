"""One peer as a row of its table, and back."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from tests.core.samples import empty, register, relay
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.relays import NatClass, RelayDistance, RelayId
from wireguard_mesh.store.rows import peer_row, record_of, relay_of, relay_row

OUTCOME = decide(empty(), [register(1, endpoints=("192.0.2.1:51820", "[2001:db8::1]:1"))], 50.0)
(RECORD,) = OUTCOME.snapshot.records.values()


PEER = msgspec.structs.replace(
    RECORD.peer,
    mapped=(Endpoint.parse("192.0.2.1:7"),),
    reflexive=(Endpoint.parse("192.0.2.1:8"), Endpoint.parse("192.0.2.1:9")),
    nat=NatClass.HARD,
    distances=(RelayDistance(RelayId("fra-1"), 20),),
)


def read(**changes: object) -> Record:
    return record_of(SimpleNamespace(**{**peer_row(RECORD), **changes}), OUTCOME.snapshot.network)


def test_a_record_survives_its_row() -> None:
    assert read() == RECORD


def test_what_routers_and_relays_know_survives_its_row() -> None:
    record = msgspec.structs.replace(RECORD, peer=PEER)
    assert record_of(SimpleNamespace(**peer_row(record)), OUTCOME.snapshot.network) == record


def test_a_relay_survives_its_row() -> None:
    for one in (relay(1), relay(2, ipv4="192.0.2.4")):
        assert relay_of(SimpleNamespace(**relay_row(one))) == one
    with pytest.raises(InvalidValue):
        relay_of(SimpleNamespace(record="{}"))


def test_an_endpoint_that_is_none_any_more_is_left_out() -> None:
    (endpoint,) = read(endpoints='["0.0.0.0:1","192.0.2.1:1"]').peer.endpoints
    assert str(endpoint) == "192.0.2.1:1"


@pytest.mark.parametrize(
    "changes", [{"endpoints": "{"}, {"public_key": "x"}, {"number": 0}, {"nat": "new"}, {"distances": "[1]"}]
)
def test_what_nobody_wrote_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Exception, match=r"."):
        read(**changes)

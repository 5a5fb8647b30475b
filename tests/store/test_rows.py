"""One peer as a row of its table, and back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.core.samples import empty, register
from wireguard_mesh.core.registry import decide
from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.store.rows import peer_row, record_of

OUTCOME = decide(empty(), [register(1, endpoints=("192.0.2.1:51820", "[2001:db8::1]:1"))], 50.0)
(RECORD,) = OUTCOME.snapshot.records.values()


def read(**changes: object) -> Record:
    return record_of(SimpleNamespace(**{**peer_row(RECORD), **changes}), OUTCOME.snapshot.network)


def test_a_record_survives_its_row() -> None:
    assert read() == RECORD


def test_an_endpoint_that_is_none_any_more_is_left_out() -> None:
    (endpoint,) = read(endpoints='["0.0.0.0:1","192.0.2.1:1"]').peer.endpoints
    assert str(endpoint) == "192.0.2.1:1"


@pytest.mark.parametrize("changes", [{"endpoints": "{"}, {"public_key": "x"}, {"number": 0}])
def test_what_nobody_wrote_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Exception, match=r"."):
        read(**changes)

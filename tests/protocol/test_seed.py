"""The plain messages, field by field."""

import msgspec
import pytest

from tests.samples import peer, public_key
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.seed import (
    ErrorResponse,
    HeartbeatRequest,
    RegisterRequest,
    heartbeat_request,
    peer_entry,
    register_request,
    rfc3339,
)


def test_a_peer_entry_has_exactly_these_fields_and_types() -> None:
    assert msgspec.json.decode(encode(peer_entry(peer(2), 1704110400.9))) == {
        "id": "peer-000002",
        "public_key": public_key(2).to_base64(),
        "virtual_ip": "10.100.0.2",
        "endpoint": "192.0.2.3:51820",
        "hostname": "host-2",
        "os": "linux",
        "allowed_ips": ["10.100.0.2/32"],
        "exit_node": False,
        "online": True,
        "last_heartbeat": "2024-01-01T12:00:00Z",
    }


def test_a_peer_without_endpoint_has_an_empty_one() -> None:
    assert peer_entry(msgspec.structs.replace(peer(2), endpoints=()), 0).endpoint == ""


def test_a_peer_that_only_relays_know_an_endpoint_of_has_that() -> None:
    seen = (Endpoint.parse("198.51.100.7:1"), Endpoint.parse("198.51.100.7:2"))
    both = msgspec.structs.replace(peer(2), reflexive=seen)
    assert peer_entry(both, 0).endpoint == "192.0.2.3:51820"
    assert peer_entry(msgspec.structs.replace(both, endpoints=()), 0).endpoint == "198.51.100.7:1"


def test_requests_need_little() -> None:
    assert register_request.decode(b'{"public_key": "k"}') == RegisterRequest(public_key="k")
    assert RegisterRequest(public_key="k").request_ip
    assert heartbeat_request.decode(b'{"peer_id": "p"}') == HeartbeatRequest(peer_id="p")


def test_errors_say_that_it_did_not_succeed() -> None:
    assert msgspec.json.decode(encode(ErrorResponse(code="x", error="y"))) == {
        "code": "x",
        "error": "y",
        "hint": "",
        "success": False,
    }


def test_times_are_utc_with_whole_seconds() -> None:
    assert rfc3339(0.999) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (-62135596800.0, "0001-01-01T00:00:00Z"),
        (-62135647200.0, "0001-01-01T00:00:00Z"),
        (-1e300, "0001-01-01T00:00:00Z"),
        (253402300800.0, "9999-12-31T23:59:59Z"),
        (1e300, "9999-12-31T23:59:59Z"),
    ],
)
def test_every_time_has_a_text(moment: float, text: str) -> None:
    assert rfc3339(moment) == text

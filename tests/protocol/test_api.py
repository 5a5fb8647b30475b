"""Our own messages."""

import msgspec
import pytest

from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import (
    MAX_ENDPOINTS,
    Admission,
    MapUpdate,
    RegisterRequest,
    RegisterResponse,
    ServerInfo,
    UpdateKind,
    map_update,
    register_request,
    register_response,
    server_info,
)
from wireguard_mesh.protocol.codec import encode


def test_messages_survive_their_json() -> None:
    snapshot = MapUpdate(
        kind=UpdateKind.SNAPSHOT, epoch="e", revision=4, network=NETWORK, upsert=(peer(1), peer(2), peer(3))
    )
    assert map_update.decode(encode(snapshot)) == snapshot
    for update in (snapshot, None):
        answer = RegisterResponse(peer_id=peer(1).id, me=peer(1), map=update, heartbeat_seconds=30, offline_seconds=120)
        assert register_response.decode(encode(answer)) == answer
    request = RegisterRequest(hostname="a", since=MapVersion("e", 4))
    assert register_request.decode(encode(request)) == request
    info = ServerInfo(
        server_public_key=public_key(0),
        network=NETWORK,
        epoch="e",
        admission=Admission.OPEN,
        version="1",
        instance="i",
        time=1.5,
    )
    assert server_info.decode(encode(info)) == info


def test_an_update_of_nothing_is_small() -> None:
    assert msgspec.json.decode(encode(MapUpdate(kind=UpdateKind.CURRENT, epoch="e", revision=4))) == {
        "kind": "current",
        "epoch": "e",
        "revision": 4,
    }


def test_a_registration_is_bounded() -> None:
    endpoints = ",".join(f'"192.0.2.1:{port}"' for port in range(1, MAX_ENDPOINTS + 2))
    for body in (
        f'{{"hostname": "a", "endpoints": [{endpoints}]}}',
        f'{{"hostname": "{"a" * 254}"}}',
        f'{{"hostname": "a", "os": "{"a" * 65}"}}',
    ):
        with pytest.raises(InvalidValue, match="length"):
            register_request.decode(body)

"""Our own messages."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol.api import (
    MAX_ENDPOINTS,
    Admission,
    MapUpdate,
    RegisterResponse,
    ServerInfo,
    Since,
    UpdateKind,
    map_update,
    register_request,
    register_response,
    server_info,
)
from wireguard_mesh.protocol.codec import encode


@given(st.from_regex(r"[0-9a-z]{1,64}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_since_and_its_text_are_one(epoch: str, revision: int) -> None:
    assert Since.parse(str(Since(epoch, revision))) == Since(epoch, revision)


@pytest.mark.parametrize(
    "text", ["", ".", "a", "a.", ".1", "a.-1", "a.1.5x", "a b.1", "é.1", "a.٣", f"{'a' * 65}.1", f"a.{10**18}"]
)
def test_what_is_no_since_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"EPOCH\.REVISION"):
        Since.parse(text)


def test_messages_survive_their_json() -> None:
    snapshot = MapUpdate(
        kind=UpdateKind.SNAPSHOT, epoch="e", revision=4, network=NETWORK, me=peer(1), upsert=(peer(2), peer(3))
    )
    assert map_update.decode(encode(snapshot)) == snapshot
    answer = RegisterResponse(peer_id=peer(1).id, map=snapshot, heartbeat_seconds=30, offline_seconds=120)
    assert register_response.decode(encode(answer)) == answer
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

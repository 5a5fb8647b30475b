"""Our own API."""

from __future__ import annotations

import pytest

from tests.core.samples import public_key
from tests.server.conftest import SERVER_KEY, Server
from wireguard_mesh.core.commands import MarkOffline
from wireguard_mesh.core.netmap import apply
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.protocol import api
from wireguard_mesh.server.routes import v1


async def test_a_stranger_learns_what_it_needs_to_sign(server: Server) -> None:
    info = api.server_info.decode((await server.plain("GET", "/v1/server")).content)
    assert info.server_public_key == SERVER_KEY.public_key
    assert (info.epoch, info.admission, info.time) == ("epoch1", api.Admission.OPEN, server.time.wall)


def whole(seed: int, joined: api.RegisterResponse) -> NetworkMap:
    assert joined.map is not None
    netmap = apply(None, joined.map, public_key(seed))
    assert netmap.me == joined.me
    return netmap


async def test_who_has_a_map_is_told_what_changed_as_it_registers(server: Server) -> None:
    first = await server.join(1)
    await server.join(2)
    again = await server.join(1, since={"epoch": "epoch1", "revision": first.me.revision})
    assert again.map is not None
    assert (again.map.kind, [peer.public_key for peer in again.map.upsert]) == ("delta", [public_key(2)])


async def test_a_large_map_is_left_to_the_stream(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v1, "MAX_RECORDS_AT_ONCE", 1)
    assert (await server.join(1)).map is not None
    second = await server.join(2)
    assert (second.map, second.me.public_key) == (None, public_key(2))


async def test_one_request_is_enough_to_join(server: Server) -> None:
    await server.join(1)
    joined = await server.join(2, os="linux", endpoints=["192.0.2.2:51820"], exit_node=True, version="9")
    netmap = whole(2, joined)
    assert (joined.heartbeat_seconds, joined.offline_seconds) == (30.0, 120.0)
    assert netmap.me.id == joined.peer_id
    assert (netmap.me.hostname, netmap.me.exit_node) == ("host-2", True)
    assert list(netmap.peers) == [public_key(1)]
    assert server.mesh.snapshot.record(public_key(2)).version == "9"


async def test_a_heartbeat_tells_the_head(server: Server) -> None:
    await server.join(1)
    answer = await server.signed(1, "POST", "/v1/heartbeat", {})
    beat = api.heartbeat_response.decode(answer.content)
    assert (beat.epoch, beat.revision, beat.time) == ("epoch1", 1, server.time.wall)
    answer = await server.signed(1, "POST", "/v1/heartbeat", {"endpoints": ["192.0.2.1:1"], "exit_node": True})
    assert api.heartbeat_response.decode(answer.content).revision == 2


async def test_a_heartbeat_of_nobody_is_told_to_register(server: Server) -> None:
    answer = await server.signed(1, "POST", "/v1/heartbeat", {})
    assert (answer.status_code, answer.json()["hint"]) == (404, "register again")


async def test_polling_gives_what_changed(server: Server) -> None:
    netmap = whole(1, await server.join(1))
    await server.join(2)
    update = await server.map(1, f"?since={netmap.epoch}.{netmap.revision}")
    assert update.kind is api.UpdateKind.DELTA
    netmap = apply(netmap, update, public_key(1))
    assert list(netmap.peers) == [public_key(2)]
    update = await server.map(1, f"?since={netmap.epoch}.{netmap.revision}")
    assert update == api.MapUpdate(kind=api.UpdateKind.CURRENT, epoch="epoch1", revision=2)
    assert (await server.map(1)).kind is api.UpdateKind.SNAPSHOT


async def test_who_leaves_is_gone_and_its_address_quarantined(server: Server) -> None:
    await server.join(1)
    await server.join(2)
    assert (await server.signed(1, "DELETE", "/v1/peer")).status_code == 200
    assert list(server.mesh.snapshot.records) == [public_key(2)]
    third = whole(3, await server.join(3))
    assert str(third.me.ipv4) == "10.100.0.3"
    assert (await server.signed(1, "DELETE", "/v1/peer")).status_code == 404


async def test_bad_queries_and_bodies_are_said(server: Server) -> None:
    await server.join(1)
    for target, says in (
        ("/v1/map?since=nonsense", "is EPOCH.REVISION"),
        ("/v1/map?since=a.b", "is EPOCH.REVISION"),
    ):
        answer = await server.signed(1, "GET", target)
        assert (answer.status_code, says in answer.json()["error"]) == (400, True), target
    for body, says in (
        ({"hostname": "no host"}, "a host name has"),
        ({"hostname": "x", "endpoints": ["192.0.2.1:1"] * 17}, "endpoints"),
        ({"hostname": "x", "endpoints": ["x"]}, "endpoints"),
        ({}, "hostname"),
        ([], "Expected `object`"),
    ):
        answer = await server.signed(1, "POST", "/v1/register", body)
        assert (answer.status_code, says in answer.json()["error"]) == (400, True), answer.text


async def test_health_counts(server: Server) -> None:
    await server.join(1)
    await server.join(2)
    await server.writer.submit(MarkOffline(public_key=public_key(2)))
    server.time.pass_by(7)
    health = (await server.plain("GET", "/v1/health")).json()
    assert {**health, "version": ""} == {
        "status": "ok",
        "version": "",
        "revision": 3,
        "peers": 2,
        "online": 1,
        "uptime": 7.0,
        "streams": 0,
        "relay": None,
        "relays": [],
    }

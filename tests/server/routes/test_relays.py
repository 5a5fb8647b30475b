"""A relay over HTTP: it registers, beats, follows the map, and goes."""

from __future__ import annotations

from typing import Any

import httpx

from tests.core.samples import public_key, relay
from tests.server.conftest import RELAY_KEY, SERVER_KEY, Server
from tests.server.streaming import streaming
from tests.waiting import until
from wireguard_mesh.model.relays import NatClass, RelayId
from wireguard_mesh.protocol import api, relay_api

SEED = 501  # the key of the first vantage point of relay 1


def registration(server: Server, **changes: Any) -> dict[str, Any]:
    time = int(server.time.wall)
    first, second = relay(1).vantage_points
    return {
        "id": "fra-1",
        "vantage_points": [
            {"public_key": first.public_key.to_base64(), "port": 3478},
            {"public_key": second.public_key.to_base64(), "port": 3479},
        ],
        "time": time,
        "proof": RELAY_KEY.proof(RelayId("fra-1"), public_key(SEED), SERVER_KEY.public_key, time),
        "ipv4": "192.0.2.50",
        **changes,
    }


async def join(server: Server, **changes: Any) -> httpx.Response:
    return await server.signed(SEED, "POST", "/v1/relays/register", registration(server, **changes))


async def beat(server: Server, *observations: dict[str, Any]) -> httpx.Response:
    return await server.signed(SEED, "POST", "/v1/relays/heartbeat", {"observations": list(observations)})


async def test_a_relay_lives_in_the_map(server: Server) -> None:
    await server.join(1)
    answer = await join(server)
    assert answer.status_code == 200, answer.text
    registered = relay_api.relay_registered.decode(answer.content)
    assert registered.heartbeat_seconds < registered.silence_seconds
    assert (await server.map(1)).relays == (registered.relay,)
    seen = {"public_key": public_key(1).to_base64(), "vantage": 0, "endpoint": None, "over_web": True}
    answer = await beat(server, seen)
    beaten = relay_api.relay_heartbeat_response.decode(answer.content)
    assert (beaten.revision, beaten.time) == (server.mesh.snapshot.revision, server.time.wall)
    await until(lambda: server.mesh.snapshot.record(public_key(1)).peer.nat is NatClass.BLOCKED)
    health = api.health.decode((await server.plain("GET", "/v1/health")).content)
    assert health.relays == (api.RelaySummary(id=RelayId("fra-1"), does=api.RelayCounters()),)
    assert (await server.signed(SEED, "DELETE", "/v1/relays")).json() == {"success": True}
    assert (await server.map(1)).relays == ()
    assert (await beat(server)).status_code == 404


async def test_who_lacks_the_relay_key_is_refused(server: Server) -> None:
    answer = await join(server, proof="0" * 64)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    plain = await server.plain("POST", "/v1/relays/register", registration(server))
    assert (plain.status_code, plain.json()["code"]) == (401, "bad_signature")
    assert server.mesh.snapshot.relays == ()
    assert (await beat(server)).status_code == 404
    assert (await join(server, version="\u0007")).status_code == 400


async def test_a_registration_is_good_once(server: Server) -> None:
    target = "/v1/relays/register"
    body = httpx.Request("POST", "http://x", json=registration(server)).content
    headers = server.signature(SEED, "POST", target, body)
    assert (await server.http.post(target, content=body, headers=headers)).status_code == 200
    answer = await server.http.post(target, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "replayed")


async def test_a_relay_is_no_peer_and_a_peer_no_relay(server: Server) -> None:
    await server.join(1)
    await join(server)
    assert (await server.signed(SEED, "POST", "/v1/heartbeat", {})).status_code == 404
    assert (await server.signed(SEED, "DELETE", "/v1/peer")).status_code == 404
    assert (await server.signed(1, "POST", "/v1/relays/heartbeat", {})).status_code == 404
    assert (await server.signed(SEED, "POST", "/v1/register", {"hostname": "x"})).status_code == 409


async def test_a_relay_follows_the_map_until_it_goes(server: Server) -> None:
    await server.join(1)
    await join(server)
    async with streaming(server) as served:
        reader = await served.ask(served.request(SEED), seed=1)  # what it gets is what peer 1 would get
        (first,) = await reader.steps(1)
        assert [peer.public_key for peer in first.upsert] == [public_key(1)]
        await server.join(2)
        assert [peer.public_key for peer in (await reader.steps(2))[1].upsert] == [public_key(2)]
        assert (await server.map(SEED)).kind is api.UpdateKind.SNAPSHOT
        await server.signed(SEED, "DELETE", "/v1/relays")
        await reader.rest()

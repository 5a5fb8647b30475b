"""`GET /v1/relay`: who may open a WebSocket to the relay, and what the others are told."""

from __future__ import annotations

from tests.core.samples import public_key
from tests.server.carrying import UPGRADE, opened, relaying, request
from tests.server.conftest import Server


async def test_a_peer_that_signs_is_switched_over(server: Server) -> None:
    await server.join(1)
    async with relaying(server) as (served, own):
        _, writer, head = await opened(served, request(server, 1))
        assert head.startswith(b"HTTP/1.1 101")
        writer.close()
        assert [key for _, _, key in own.given] == [public_key(1)]


async def test_a_stranger_gets_no_carrier(server: Server) -> None:
    async with relaying(server) as (served, own):
        _, writer, head = await opened(served, request(server, 1))
        assert head.startswith(b"HTTP/1.1 404")
        writer.close()
        await server.join(2)
        _, writer, head = await opened(served, request(server, 2).replace(b"sha-256=:", b"sha-256=:A", 1))
        assert head.startswith(b"HTTP/1.1 401")
        writer.close()
        assert own.given == []


async def test_a_signature_opens_one_carrier_only(server: Server) -> None:
    await server.join(1)
    async with relaying(server) as (served, own):
        data = request(server, 1)
        for status in (b"101", b"401"):
            _, writer, head = await opened(served, data)
            assert head.startswith(b"HTTP/1.1 " + status)
            writer.close()
        assert len(own.given) == 1


async def test_who_does_not_sign_is_told_to(server: Server) -> None:
    assert (await server.http.get("/v1/relay", headers=UPGRADE)).status_code == 401
    assert (await server.http.post("/v1/relay", headers=UPGRADE)).status_code == 405


async def test_a_relay_that_is_down_is_said_to_be(server: Server) -> None:
    await server.join(1)
    async with relaying(server, is_up=False) as (served, _):
        _, writer, head = await opened(served, request(server, 1))
        assert head.startswith(b"HTTP/1.1 503")
        writer.close()
    server.relays.own = None
    answer = await server.http.get("/v1/relay", headers={**UPGRADE, **server.signature(1, "GET", "/v1/relay")})
    assert answer.status_code == 503


async def test_a_plain_request_is_told_what_is_spoken_here(server: Server) -> None:
    await server.join(1)
    async with relaying(server) as (served, own):
        _, writer, head = await opened(served, request(server, 1, upgrade="h2c"))
        assert head.startswith(b"HTTP/1.1 400")
        writer.close()
        assert own.given == []

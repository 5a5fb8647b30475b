"""Signatures at the door."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.samples import public_key
from tests.server.conftest import BURST, SERVER_KEY, Server
from wireguard_mesh.server import gate
from wireguard_mesh.server.app import make_app
from wireguard_mesh.server.clock import Clock

BODY = b'{"hostname":"a"}'
TARGET = "/v1/register"
DIGEST = f"sha-256=:{b64encode(sha256(BODY).digest()).decode()}:"


async def test_a_replay_is_refused(server: Server) -> None:
    headers = server.signature(1, "POST", TARGET, BODY)
    assert (await server.http.post(TARGET, content=BODY, headers=headers)).status_code == 200
    again = await server.http.post(TARGET, content=BODY, headers=headers)
    assert (again.status_code, again.json()["code"]) == (401, "replayed")


async def test_another_body_method_path_or_query_is_refused(server: Server) -> None:
    await server.join(1)
    headers = server.signature(1, "POST", TARGET, BODY)
    for method, target, body in (
        ("POST", TARGET, b'{"hostname":"b"}'),
        ("POST", "/v1/heartbeat", BODY),
        ("POST", TARGET + "?x=1", BODY),
    ):
        answer = await server.http.request(method, target, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")


HOSTILE = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200),
    st.builds(
        lambda components, parameters: f"mesh=({' '.join(components)}){''.join(parameters)}",
        st.lists(st.sampled_from(['"@method"', '"@path"', '"@query"', '"content-digest"', '"@nonsense"', "5"])),
        st.lists(
            st.sampled_from(
                [
                    f';keyid="{public_key(1).to_base64()}"',
                    ';keyid="x"',
                    ";keyid=5",
                    ";created=1700000000",
                    ';created="x"',
                    ";created=999999999999999",
                    ';tag="wireguard-mesh"',
                    ';nonce="0123456789abcdef"',
                    ';alg="hmac-sha256"',
                    ';alg="none"',
                    ";expires=1",
                ]
            )
        ),
    ),
)


@given(HOSTILE, HOSTILE, HOSTILE)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_the_headers_say_it_is_refused_and_no_fault(
    server: Server, given_input: str, signature: str, digest: str
) -> None:
    headers = {"signature-input": given_input, "signature": signature, "content-digest": digest}
    answer = await server.http.post(TARGET, content=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
    headers = {**headers, "signature": "mesh=:AAAA:", "content-digest": DIGEST}
    answer = await server.http.post(TARGET, content=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")


async def test_a_request_without_signature_is_refused(server: Server) -> None:
    for method, target in (("POST", TARGET), ("POST", "/v1/heartbeat"), ("GET", "/v1/map"), ("DELETE", "/v1/peer")):
        answer = await server.plain(method, target)
        assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature"), target


@pytest.mark.parametrize("age", [61.0, -61.0])
async def test_a_wrong_clock_is_told_apart(server: Server, age: float) -> None:
    server.time.pass_by(100)
    headers = server.signature(1, "POST", TARGET, BODY, age)
    answer = await server.http.post(TARGET, content=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "clock_skew")
    assert answer.headers["mesh-nonce"] == server.instance


async def test_a_replay_over_a_restart_is_refused_and_the_new_run_s_name_is_told(server: Server) -> None:
    headers = server.signature(1, "POST", TARGET, BODY, -50.0)  # by a clock that is ahead
    assert (await server.http.post(TARGET, content=BODY, headers=headers)).status_code == 200
    restarted = httpx.ASGITransport(make_app(server.mesh, server.relays, SERVER_KEY, Clock(lambda: server.time.wall)))  # type: ignore[arg-type]  # as ASGI has it
    async with httpx.AsyncClient(transport=restarted, base_url="http://server") as http:
        answer = await http.post(TARGET, content=BODY, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "stale_nonce")
        server.instance = answer.headers["mesh-nonce"]
        headers = server.signature(1, "POST", TARGET, BODY)
        assert (await http.post(TARGET, content=BODY, headers=headers)).status_code == 200


async def test_a_wall_clock_set_back_makes_nothing_old_good_again(server: Server) -> None:
    await server.join(1)
    headers = server.signature(1, "DELETE", "/v1/peer")
    assert (await server.http.delete("/v1/peer", headers=headers)).status_code == 200
    await server.join(1)
    for seconds in (200.0, 200.0):
        server.time.pass_by(seconds)
        await server.signed(1, "POST", "/v1/heartbeat", {})
    server.time.wall -= 400
    answer = await server.http.delete("/v1/peer", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "stale_nonce")
    await server.learn_instance()
    await server.join(1)


@pytest.mark.parametrize("step", [3600.0, -20.0])
async def test_a_wall_clock_that_is_set_otherwise_shuts_nobody_out(server: Server, step: float) -> None:
    server.time.wall += step
    await server.join(1)


async def test_strangers_are_limited_before_anything_is_remembered(server: Server) -> None:
    for seed in range(1, BURST + 1):
        await server.join(seed)
    headers = server.signature(99, "POST", TARGET, BODY)
    first = await server.http.post(TARGET, content=BODY, headers=headers)
    assert (first.status_code, first.json()["code"]) == (429, "rate_limited")
    server.time.pass_by(1)
    assert (await server.http.post(TARGET, content=BODY, headers=headers)).status_code == 200


async def test_a_long_body_is_refused_declared_or_not(server: Server) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(10_000)

    declared = await server.http.post("/register", content=bytes(100_000))
    chunked = await server.http.post("/register", content=chunks())
    for answer in (declared, chunked):
        assert (answer.status_code, answer.json()["code"], answer.headers["connection"]) == (413, "too_large", "close")


async def test_a_slow_body_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.01)
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/register",
        "raw_path": b"/register",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-length", b"10")],
        "client": None,
        "server": ("server", 80),
        "state": {},
    }
    await server.app(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_the_source_is_the_connection_s_address(server: Server) -> None:
    class Client:
        host = "fe80::1%eth0"

    class Request:
        client: Client | None = Client()

    assert str(gate.source(Request())) == "fe80::1"  # type: ignore[arg-type]  # only its client matters
    Client.host = "unix"
    assert str(gate.source(Request())) == "0.0.0.0"  # type: ignore[arg-type]
    Request.client = None
    assert str(gate.source(Request())) == "0.0.0.0"  # type: ignore[arg-type]
    assert public_key(1) not in server.mesh.snapshot.records

"""Errors of the application as a whole."""

from __future__ import annotations

import pytest

from tests.server.conftest import Server


async def test_unknown_paths_and_methods_are_answered_as_all_errors_are(server: Server) -> None:
    missing = await server.plain("GET", "/nowhere")
    assert (missing.status_code, missing.json()["code"], missing.json()["success"]) == (404, "not_found", False)
    wrong = await server.plain("DELETE", "/peers")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]


@pytest.mark.parametrize("body", ["", "nonsense", "[]", '{"public_key":', "\x00", "[" * 10_000])
async def test_bodies_that_are_no_message_are_refused(server: Server, body: str) -> None:
    for path in ("/register", "/heartbeat"):
        answer = await server.http.post(path, content=body)
        assert (answer.status_code, answer.json()["success"]) == (400, False)


async def test_a_fault_of_ours_tells_the_log_and_not_the_caller(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(server.mesh, "last_heard", fail)
    await server.join(1)
    answer = await server.plain("GET", "/peers")
    assert answer.status_code == 500
    assert answer.json() == {
        "code": "internal",
        "error": "the server failed at this",
        "hint": "look at its log",
        "success": False,
    }
    assert "the secret inside" in caplog.text

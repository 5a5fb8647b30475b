"""Answers that are encoded already."""

from __future__ import annotations

from wireguard_mesh.server.routes.replies import json_reply


def test_a_reply_is_json_as_it_is() -> None:
    reply = json_reply(b"{}")
    assert reply.body == b"{}"
    assert reply.status_code == 200

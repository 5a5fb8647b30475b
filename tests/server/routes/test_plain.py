"""The plain API: exactly its fields and types, and nothing that harms a peer that signs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.samples import public_key
from tests.server.conftest import BURST, SERVER_KEY, Server

KEY = public_key(1).to_base64()


def message(seed: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "public_key": public_key(seed).to_base64(),
        "hostname": "my-laptop",
        "os": "linux",
        "endpoint": "192.0.2.1:51820",
        "request_ip": True,
        "exit_node": False,
        **fields,
    }


async def test_registration_has_exactly_its_fields(server: Server) -> None:
    answer = await server.plain("POST", "/register", message())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    peer_id = answer.json()["peer_id"]
    assert answer.json() == {
        "success": True,
        "assigned_ip": "10.100.0.1",
        "network_cidr": "10.100.0.0/16",
        "peer_id": peer_id,
        "server_public_key": SERVER_KEY.public_key.to_base64(),
    }
    again = await server.plain("POST", "/register", message())
    assert again.json() == answer.json()
    assert server.mesh.snapshot.revision == 1
    second = await server.plain("POST", "/register", message(2))
    assert second.json()["assigned_ip"] == "10.100.0.2"


async def test_the_list_has_exactly_its_fields(server: Server) -> None:
    first = (await server.plain("POST", "/register", message())).json()["peer_id"]
    second = (await server.plain("POST", "/register", message(2, exit_node=True, endpoint=""))).json()["peer_id"]
    everybody = await server.plain("GET", "/peers?peer_id=test")
    assert everybody.json() == {
        "peers": [
            {
                "id": first,
                "public_key": KEY,
                "virtual_ip": "10.100.0.1",
                "endpoint": "192.0.2.1:51820",
                "hostname": "my-laptop",
                "os": "linux",
                "allowed_ips": ["10.100.0.1/32"],
                "exit_node": False,
                "online": True,
                "last_heartbeat": "2023-11-14T22:13:20Z",
            },
            {
                "id": second,
                "public_key": public_key(2).to_base64(),
                "virtual_ip": "10.100.0.2",
                "endpoint": "",
                "hostname": "my-laptop",
                "os": "linux",
                "allowed_ips": ["10.100.0.2/32"],
                "exit_node": True,
                "online": True,
                "last_heartbeat": "2023-11-14T22:13:20Z",
            },
        ]
    }
    assert (await server.plain("GET", "/peers")).json() == everybody.json()
    others = (await server.plain("GET", f"/peers?peer_id={first}")).json()["peers"]
    assert [peer["id"] for peer in others] == [second]


async def test_a_heartbeat_moves_the_endpoint_and_the_time(server: Server) -> None:
    peer_id = (await server.plain("POST", "/register", message())).json()["peer_id"]
    server.time.pass_by(30)
    answer = await server.plain("POST", "/heartbeat", {"peer_id": peer_id, "endpoint": "192.0.2.9:1"})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    (peer,) = (await server.plain("GET", "/peers")).json()["peers"]
    assert (peer["endpoint"], peer["last_heartbeat"]) == ("192.0.2.9:1", "2023-11-14T22:13:50Z")
    server.time.pass_by(30)
    await server.plain("POST", "/heartbeat", {"peer_id": peer_id})
    (peer,) = (await server.plain("GET", "/peers")).json()["peers"]
    assert (peer["endpoint"], peer["last_heartbeat"]) == ("192.0.2.9:1", "2023-11-14T22:14:20Z")


async def test_only_the_key_is_needed(server: Server) -> None:
    answer = await server.plain("POST", "/register", {"public_key": KEY})
    assert answer.status_code == 200
    (peer,) = (await server.plain("GET", "/peers")).json()["peers"]
    assert (peer["hostname"], peer["os"], peer["endpoint"]) == ("machine", "", "")


async def test_without_request_ip_a_key_is_looked_up_only(server: Server) -> None:
    assert (await server.plain("POST", "/register", message(request_ip=False))).status_code == 404
    await server.plain("POST", "/register", message())
    answer = await server.plain("POST", "/register", message(request_ip=False))
    assert answer.json()["assigned_ip"] == "10.100.0.1"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"public_key": "short"}, "a WireGuard key is 32 bytes"),
        ({"public_key": "A" * 43 + "="}, "low order"),
        ({"public_key": 7}, "public_key: Expected `str`"),
        ({"hostname": "no host name"}, "a host name has letters"),
        ({"hostname": "x" * 300}, "a host name has letters"),
        ({"os": "x" * 65}, "os: expected at most 64 printable"),
        ({"endpoint": "nowhere"}, "an endpoint is an address and a port"),
        ({"endpoint": "0.0.0.0:1"}, "no address of one machine"),
        ({"exit_node": "yes"}, "exit_node: Expected `bool`"),
    ],
)
async def test_what_is_wrong_is_said_and_changes_nothing(server: Server, changes: dict[str, Any], says: str) -> None:
    answer = await server.plain("POST", "/register", message(**changes))
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert answer.json()["success"] is False
    assert not server.mesh.snapshot.records


async def test_an_unknown_peer_is_told_to_register(server: Server) -> None:
    answer = await server.plain("POST", "/heartbeat", {"peer_id": "peer-123456"})
    assert (answer.status_code, answer.json()["hint"]) == (404, "register again")


async def test_a_signed_request_is_welcome_for_its_own_key_only(server: Server) -> None:
    answer = await server.signed(1, "POST", "/register", message())
    assert answer.status_code == 200
    peer_id = answer.json()["peer_id"]
    assert (await server.signed(1, "POST", "/heartbeat", {"peer_id": peer_id})).status_code == 200
    other = await server.signed(2, "POST", "/register", message())
    assert (other.status_code, other.json()["code"]) == (403, "not_permitted")
    await server.join(2)
    assert (await server.signed(2, "POST", "/heartbeat", {"peer_id": peer_id})).status_code == 403


async def test_a_plain_request_never_touches_a_peer_that_signs(server: Server) -> None:
    joined = await server.join(1)
    before = server.mesh.snapshot
    server.time.pass_by(10)
    hijack = await server.plain("POST", "/register", message(endpoint="198.51.100.66:1"))
    assert (hijack.status_code, hijack.json()["code"]) == (403, "not_permitted")
    beat = await server.plain("POST", "/heartbeat", {"peer_id": joined.peer_id})
    assert beat.status_code == 403
    assert server.mesh.snapshot is before
    assert server.mesh.last_heard(public_key(1)) == server.time.wall - 10


async def test_a_bad_signature_is_not_taken_for_a_plain_request(server: Server) -> None:
    answer = await server.http.post("/register", json=message(), headers={"signature": "mesh=:AAAA:"})
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")


async def test_one_address_cannot_fill_the_network_at_once(server: Server) -> None:
    for seed in range(1, BURST + 1):
        assert (await server.plain("POST", "/register", message(seed))).status_code == 200
    refused = await server.plain("POST", "/register", message(99))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert (await server.plain("POST", "/register", message(1))).status_code == 200  # known already
    server.time.pass_by(1)
    assert (await server.plain("POST", "/register", message(99))).status_code == 200

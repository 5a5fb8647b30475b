"""A relay's calls to the server."""

from __future__ import annotations

import asyncio

import pytest

from tests.client.conftest import Scripted, read_request, response
from tests.samples import private_key, public_key
from wireguard_mesh.client.control import NotRegistered
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.client.relay_control import RelayControl
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.relays import VantagePoint
from wireguard_mesh.protocol import relay_api
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.seed import ErrorResponse

POINTS = (VantagePoint(public_key(8), 8080), VantagePoint(public_key(9), 8081))
REGISTRATION = relay_api.RelayRegistration(id="fra-1", vantage_points=POINTS, time=5, proof="p")
NOT_FOUND = encode(ErrorResponse(success=False, error="no such thing", code="not_found", hint=""))


@pytest.fixture
def control(scripted: Scripted) -> RelayControl:
    return RelayControl(HttpClient(Dialer(scripted.address)), private_key(8), public_key(7), lambda: 1e9)


def answering(scripted: Scripted, *answers: bytes) -> None:
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            scripted.requests.append(request)
            writer.write(left.pop(0))

    scripted.talk = talk


async def test_each_call_is_signed(scripted: Scripted, control: RelayControl) -> None:
    answer = encode(relay_api.RelayHeartbeatResponse(epoch="e", revision=3, time=5.0))
    answering(scripted, response("200 OK", answer), response("200 OK", encode(relay_api.RelayLeft())))
    assert (await control.relay_heartbeat(relay_api.RelayHeartbeat())).revision == 3
    await control.leave()
    control.http.drop_connections()
    assert [request.split(b" HTTP")[0] for request in scripted.requests] == [
        b"POST /v1/relays/heartbeat",
        b"DELETE /v1/relays",
    ]
    assert all(b"signature-input: " in request for request in scripted.requests)


async def test_a_server_that_knows_no_relays_is_no_relay_to_register_again(
    scripted: Scripted, control: RelayControl
) -> None:
    answering(scripted, *[response("404 Not Found", NOT_FOUND)] * 2)
    with pytest.raises(Unavailable, match="takes no relays; check -server"):
        await control.register_relay(REGISTRATION)
    with pytest.raises(NotRegistered):
        await control.relay_heartbeat(relay_api.RelayHeartbeat())
    control.http.drop_connections()

"""What a `vpn-relay` asks, signed with its own key."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import delete, post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.protocol import relay_api as api
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.gate import AnyRequest, Gate
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.relays import Relays
from wireguard_mesh.server.routes.fields import shown_text
from wireguard_mesh.server.routes.replies import json_reply

_LEFT = encode(api.RelayLeft())


def relay_routes(mesh: Mesh, gate: Gate, relays: Relays, clock: Clock) -> Sequence[HTTPRouteHandler]:
    """The handlers of this area."""

    @post("/v1/relays/register", status_code=200)
    async def register(request: AnyRequest) -> ASGIResponse:
        body = await gate.body(request)
        message = api.relay_registration.decode(body)
        shown_text("version", message.version)
        admitted: list[Relay] = []

        def admit(key: PublicKey, source: Address) -> None:
            admitted.append(relays.admit(key, message, source))

        gate.stranger(request, body, admit)
        (relay,) = admitted
        return json_reply(encode(api.RelayRegistered(relay=await relays.register(relay))))

    @post("/v1/relays/heartbeat", status_code=200)
    async def heartbeat(request: AnyRequest) -> ASGIResponse:
        body = await gate.body(request)
        key = await gate.follower(request, body)
        relays.heartbeat(key, api.relay_heartbeat.decode(body))
        head = mesh.snapshot
        answer = api.RelayHeartbeatResponse(epoch=head.epoch, revision=head.revision, time=clock.wall())
        return json_reply(encode(answer))

    @delete("/v1/relays", status_code=200)
    async def leave(request: AnyRequest) -> ASGIResponse:
        await relays.leave(await gate.follower(request, await gate.body(request)))
        return json_reply(_LEFT)

    return (register, heartbeat, leave)

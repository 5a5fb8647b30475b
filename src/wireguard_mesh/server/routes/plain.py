"""`POST /register`, `POST /heartbeat`, `GET /peers`: what any HTTP client can speak, without signatures.

Served so in `open` admission only. A signed request is welcome here too; a key that ever signed must go on signing.
"""

from __future__ import annotations

from collections.abc import Sequence

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from wireguard_mesh.core.commands import Heartbeat
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import NotPermitted
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname, PeerId, hostname_from, parse_hostname
from wireguard_mesh.protocol import seed
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.server.gate import AnyRequest, Gate, source
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.rendering import Renderer
from wireguard_mesh.server.routes.fields import shown_text
from wireguard_mesh.server.routes.replies import json_reply

_HEARD = encode(seed.HeartbeatResponse(success=True))


def plain_routes(mesh: Mesh, gate: Gate, renderer: Renderer, server_key: PublicKey) -> Sequence[HTTPRouteHandler]:
    """The handlers of this area."""

    @post("/register", status_code=200)
    async def register(request: AnyRequest) -> ASGIResponse:
        body = await gate.body(request)
        message = seed.register_request.decode(body)
        key = PublicKey.from_base64(message.public_key)
        hostname, os_name = _hostname(message.hostname), shown_text("os", message.os)
        endpoints = _endpoints(message.endpoint)
        signed = gate.is_signed(request)
        if signed:
            _check_owner(gate.newcomer(request, body), key)
        elif message.request_ip:
            mesh.admit(key, source(request))
        record = await mesh.register(
            key,
            signed=signed,
            hostname=hostname,
            os_name=os_name,
            exit_node=message.exit_node,
            endpoints=endpoints,
            allocate=message.request_ip,
        )
        return json_reply(
            encode(
                seed.RegisterResponse(
                    success=True,
                    assigned_ip=str(record.peer.ipv4),
                    network_cidr=str(mesh.snapshot.network.ipv4),
                    peer_id=record.peer.id,
                    server_public_key=server_key.to_base64(),
                )
            )
        )

    @post("/heartbeat", status_code=200)
    async def heartbeat(request: AnyRequest) -> ASGIResponse:
        body = await gate.body(request)
        message = seed.heartbeat_request.decode(body)
        endpoints = _endpoints(message.endpoint)
        key = mesh.snapshot.record_of(PeerId(message.peer_id)).peer.public_key
        signed = gate.is_signed(request)
        if signed:
            _check_owner(await gate.member(request, body), key)
        await mesh.heartbeat(Heartbeat(public_key=key, signed=signed, endpoints=endpoints))
        return json_reply(_HEARD)

    @get("/peers")
    async def peers(request: AnyRequest) -> ASGIResponse:
        return json_reply(renderer.peer_list(request.query_params.get("peer_id", "")))

    return (register, heartbeat, peers)


def _hostname(text: str) -> Hostname:
    return parse_hostname(text) if text else hostname_from("")


def _endpoints(text: str) -> tuple[Endpoint, ...] | None:
    # An empty text means that the caller does not say, not that it has none any more.
    return (Endpoint.parse(text),) if text else None


def _check_owner(signer: PublicKey, key: PublicKey) -> None:
    if signer != key:
        raise NotPermitted("the request is signed by another peer's key")

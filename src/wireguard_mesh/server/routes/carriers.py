"""`GET /v1/relay`: the relay over TCP, for peers whose UDP is blocked."""

from __future__ import annotations

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from wireguard_mesh.server.carriers import Carriers
from wireguard_mesh.server.connections import connection_of
from wireguard_mesh.server.gate import AnyRequest, Gate
from wireguard_mesh.server.relays import Relays


def carrier_route(gate: Gate, relays: Relays, carriers: Carriers) -> HTTPRouteHandler:
    """The one handler of this area."""

    @get("/v1/relay")
    async def carrier(request: AnyRequest) -> ASGIResponse:
        key = await gate.member(request, await gate.body(request))
        carriers.open(relays.own, connection_of(request.scope), key, request.headers)
        return ASGIResponse()  # nobody sees it: the connection is the relay's now

    return carrier

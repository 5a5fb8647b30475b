"""Our own paths, under `/v1/`: all but three are signed."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from wireguard_mesh import __version__
from wireguard_mesh.core.commands import Heartbeat
from wireguard_mesh.core.liveness import heartbeat_seconds
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import parse_hostname
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.connections import connection_of
from wireguard_mesh.server.gate import AnyRequest, Gate
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.openapi import openapi_document
from wireguard_mesh.server.relays import Relays
from wireguard_mesh.server.rendering import Renderer
from wireguard_mesh.server.routes.fields import accepts_gzip, shown_text
from wireguard_mesh.server.routes.replies import json_reply
from wireguard_mesh.server.streams import Hub

MAX_RECORDS_AT_ONCE: Final = 256  # of a map in the answer to a registration; the stream brings a larger one in pieces
HTTP_VERSION: Final = "1.1"  # the first with chunks
_LEFT: Final = encode(api.LeaveResponse())


def peer_routes(mesh: Mesh, gate: Gate, renderer: Renderer, hub: Hub, clock: Clock) -> Sequence[HTTPRouteHandler]:
    """What a peer does."""

    @post("/v1/register", status_code=200)
    async def register(request: AnyRequest) -> ASGIResponse:
        body = await gate.body(request)
        key = gate.newcomer(request, body)
        message = api.register_request.decode(body)
        record = await mesh.register(
            key,
            signed=True,
            hostname=parse_hostname(message.hostname),
            os_name=shown_text("os", message.os),
            exit_node=message.exit_node,
            endpoints=message.endpoints,
            mapped=message.mapped,
            distances=message.distances,
            version=shown_text("version", message.version),
        )
        timeout = mesh.heartbeat_timeout
        small_map = _small_map(mesh, key, message.since)
        return json_reply(renderer.registration(record.peer, small_map, heartbeat_seconds(timeout), timeout))

    @post("/v1/heartbeat", status_code=200)
    async def heartbeat(request: AnyRequest) -> ASGIResponse:
        body = await gate.body(request)
        key = await gate.member(request, body)
        message = api.heartbeat_request.decode(body)
        await mesh.heartbeat(
            Heartbeat(
                public_key=key,
                signed=True,
                endpoints=message.endpoints,
                mapped=message.mapped,
                distances=message.distances,
                exit_node=message.exit_node,
            )
        )
        head = mesh.snapshot
        return json_reply(encode(api.HeartbeatResponse(epoch=head.epoch, revision=head.revision, time=clock.wall())))

    @get("/v1/map")
    async def network_map(request: AnyRequest) -> ASGIResponse:
        key = await gate.follower(request, await gate.body(request))
        since = _version(request.query_params.get("since"))
        await mesh.reach(since)
        return json_reply(renderer.update(mesh.map(key, since)))

    @get("/v1/map/stream")
    async def stream(request: AnyRequest) -> ASGIResponse:
        key = await gate.follower(request, await gate.body(request))
        if request.scope["http_version"] != HTTP_VERSION:
            raise InvalidValue(f"a stream needs HTTP/{HTTP_VERSION}", "a proxy in between may have to be told")
        version = _version(request.headers.get("last-event-id") or request.query_params.get("since"))
        await mesh.reach(version)
        is_gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        hub.open(connection_of(request.scope), key, version, is_gzip=is_gzip)
        return ASGIResponse()  # nobody sees it: the connection is the hub's now

    @delete("/v1/peer", status_code=200)
    async def leave(request: AnyRequest) -> ASGIResponse:
        key = await gate.member(request, await gate.body(request))
        await mesh.leave(key, signed=True)
        return json_reply(_LEFT)

    return (register, heartbeat, network_map, stream, leave)


def public_routes(
    mesh: Mesh, gate: Gate, hub: Hub, clock: Clock, server_key: PublicKey, relays: Relays
) -> Sequence[HTTPRouteHandler]:
    """What a stranger may ask."""
    started = clock.monotonic()
    description = encode(openapi_document())

    @get("/v1/server")
    async def server() -> ASGIResponse:
        return json_reply(
            encode(
                api.ServerInfo(
                    server_public_key=server_key,
                    network=mesh.snapshot.network,
                    epoch=mesh.snapshot.epoch,
                    admission=api.Admission.OPEN,
                    version=__version__,
                    instance=gate.instance,
                    time=clock.wall(),
                )
            )
        )

    @get("/v1/health")
    async def health() -> ASGIResponse:
        status = HTTPStatus.OK if mesh.can_write else HTTPStatus.SERVICE_UNAVAILABLE
        return json_reply(
            encode(
                api.Health(
                    status="ok" if mesh.can_write else "cannot write",
                    version=__version__,
                    revision=mesh.snapshot.revision,
                    peers=len(mesh.snapshot.records),
                    online=mesh.online,
                    uptime=round(clock.monotonic() - started, 1),
                    streams=len(hub),
                    relay=_own_relay(relays),
                    relays=tuple(
                        api.RelaySummary(id=relay.id, does=relays.counters(relay.id)) for relay in mesh.snapshot.relays
                    ),
                )
            ),
            status,
        )

    @get("/v1/openapi.json")
    async def openapi() -> ASGIResponse:
        return json_reply(description)

    return (server, health, openapi)


def _small_map(mesh: Mesh, key: PublicKey, since: MapVersion | None) -> api.MapUpdate | None:
    if since is None and len(mesh.snapshot.records) > MAX_RECORDS_AT_ONCE:
        return None
    update = mesh.map(key, since)
    return update if len(update.upsert) <= MAX_RECORDS_AT_ONCE else None


def _own_relay(relays: Relays) -> api.RelayHealth | None:
    own = relays.own
    return None if own is None else api.RelayHealth(id=own.id, up=own.is_up, ports=own.place.ports, does=own.counters)


def _version(text: str | None) -> MapVersion | None:
    return MapVersion.parse(text) if text else None

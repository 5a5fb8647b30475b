"""The description of the HTTP API (OpenAPI 3.1), made from the messages' own types."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final

import msgspec

from wireguard_mesh import __version__
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol import api, relay_api, seed

_TEXTS: Final[dict[Any, dict[str, Any]]] = {
    PublicKey: {"type": "string", "contentEncoding": "base64", "minLength": 44, "maxLength": 44},
    Endpoint: {"type": "string", "examples": ["192.0.2.1:51820", "[2001:db8::1]:51820"]},
    IPv4Address: {"type": "string", "format": "ipv4"},
    IPv6Address: {"type": "string", "format": "ipv6"},
    IPv4Network: {"type": "string", "examples": ["10.100.0.0/16"]},
    IPv6Network: {"type": "string", "examples": ["fd12:3456:789a::/64"]},
}
_SIGNED: Final[list[dict[str, list[str]]]] = [{"signature": []}]
_SINCE: Final = {
    "name": "since",
    "in": "query",
    "schema": {"type": "string"},
    "description": "EPOCH.REVISION of the map that the client has; without it the whole map is given",
}
_LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "schema": {"type": "string"},
    "description": "as `since`, which it outweighs: the id of the last `current` event",
}
_PEER_ID: Final = {
    "name": "peer_id",
    "in": "query",
    "schema": {"type": "string"},
    "description": "the asking peer, which is left out",
}

_SECURITY: Final = {
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Signature",
        "description": "RFC 9421 HTTP message signature with the key that peer and server share",
    }
}

_REGISTER_RELAY: Final = ("/v1/relays/register", "post", "Become a relay")
_RELAY_LIVES: Final = ("/v1/relays/heartbeat", "post", "This relay lives, and sees peers")
# path, method, what it does, request, response, signed, parameters
_OPERATIONS: Final[tuple[tuple[str, str, str, Any, Any, bool, tuple[dict[str, Any], ...]], ...]] = (
    ("/register", "post", "Register a key, plainly", seed.RegisterRequest, seed.RegisterResponse, False, ()),
    ("/heartbeat", "post", "A peer lives, plainly", seed.HeartbeatRequest, seed.HeartbeatResponse, False, ()),
    ("/peers", "get", "All other peers", None, seed.PeersResponse, False, (_PEER_ID,)),
    ("/v1/server", "get", "What a stranger may know", None, api.ServerInfo, False, ()),
    ("/v1/health", "get", "Whether the server can write", None, api.Health, False, ()),
    ("/v1/register", "post", "Join, or say anew", api.RegisterRequest, api.RegisterResponse, True, ()),
    ("/v1/heartbeat", "post", "This machine lives", api.HeartbeatRequest, api.HeartbeatResponse, True, ()),
    ("/v1/map", "get", "The network map, or what changed", None, api.MapUpdate, True, (_SINCE,)),
    ("/v1/map/stream", "get", "The network map as it changes", None, None, True, (_SINCE, _LAST_EVENT_ID)),
    ("/v1/peer", "delete", "Leave the mesh", None, api.LeaveResponse, True, ()),
    ("/v1/relay", "get", "The relay over a WebSocket", None, None, True, ()),
    (*_REGISTER_RELAY, relay_api.RelayRegistration, relay_api.RelayRegistered, True, ()),
    (*_RELAY_LIVES, relay_api.RelayHeartbeat, relay_api.RelayHeartbeatResponse, True, ()),
    ("/v1/relays", "delete", "A relay goes", None, relay_api.RelayLeft, True, ()),
)
_EVENTS: Final = {
    "type": "string",
    "description": "Server-Sent Events: snapshot, remove, upsert, relays, current; docs/protocol.md describes them",
}
# Answers that are no JSON: status, what it means, and the form of the body.
_OTHERS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "/v1/map/stream": ("200", "done", {"content": {"text/event-stream": {"schema": _EVENTS}}}),
    "/v1/relay": ("101", "the connection is a WebSocket; docs/protocol.md says what it carries", {}),
}
# Answers to more than one status of the same form: a server that cannot write says so by its health.
_ALSO: Final[dict[str, tuple[str, str]]] = {"/v1/health": ("503", "the database cannot be written")}


def openapi_document() -> dict[str, Any]:
    """The whole document."""
    types = list({kind: None for row in _OPERATIONS for kind in row[3:5] if kind is not None})
    types.append(seed.ErrorResponse)
    references, schemas = msgspec.json.schema_components(
        types, schema_hook=_text_schema, ref_template="#/components/schemas/{name}"
    )
    bodies = dict(zip(types, (_json(reference) for reference in references), strict=True))
    paths: dict[str, Any] = {}
    for path, method, summary, request, response, signed, parameters in _OPERATIONS:
        status, meaning, answer = ("200", "done", bodies[response]) if response is not None else _OTHERS[path]
        operation: dict[str, Any] = {
            "summary": summary,
            "responses": {
                status: {"description": meaning, **answer},
                "default": {"description": "refused", **bodies[seed.ErrorResponse]},
            },
        }
        if path in _ALSO:
            status, description = _ALSO[path]
            operation["responses"][status] = {"description": description, **bodies[response]}
        if request is not None:
            operation["requestBody"] = {"required": True, **bodies[request]}
        if signed:
            operation["security"] = _SIGNED
        if parameters:
            operation["parameters"] = list(parameters)
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "WireGuard Mesh coordination server", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY},
    }


def _text_schema(kind: Any) -> dict[str, Any]:
    return _TEXTS[kind]


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}

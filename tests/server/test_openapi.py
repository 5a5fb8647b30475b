"""The description describes what is served."""

from __future__ import annotations

from typing import Any

from tests.server.conftest import Server

UNDESCRIBED = {"/v1/openapi.json"}


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if "$ref" in node else set()
        return found.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


async def test_every_path_and_method_is_described(server: Server) -> None:
    document = (await server.plain("GET", "/v1/openapi.json")).json()
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    served = {
        (route.path, method)
        for route in server.app.routes
        for method in route.methods
        if method != "OPTIONS" and route.path not in UNDESCRIBED
    }
    assert described == served


async def test_every_reference_leads_somewhere(server: Server) -> None:
    document = (await server.plain("GET", "/v1/openapi.json")).json()
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document["paths"]) | references(document["components"]) <= schemas


async def test_signed_operations_say_so(server: Server) -> None:
    document = (await server.plain("GET", "/v1/openapi.json")).json()
    signed = {path for path, methods in document["paths"].items() if any("security" in m for m in methods.values())}
    peers = {"/v1/register", "/v1/heartbeat", "/v1/map", "/v1/map/stream", "/v1/peer", "/v1/relay"}
    assert signed == peers | {"/v1/relays", "/v1/relays/register", "/v1/relays/heartbeat"}


async def test_a_server_that_cannot_write_says_so_in_the_form_of_its_health(server: Server) -> None:
    document = (await server.plain("GET", "/v1/openapi.json")).json()
    responses = document["paths"]["/v1/health"]["get"]["responses"]
    assert responses["503"]["content"] == responses["200"]["content"]

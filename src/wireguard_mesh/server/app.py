"""The HTTP application: the paths of all areas, and one way to answer errors."""

from __future__ import annotations

from litestar import Litestar
from litestar.exceptions import HTTPException

from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.server.carriers import Carriers
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.errors import MAX_BODY, answer_fault, answer_http_exception, mesh_error_handler
from wireguard_mesh.server.gate import Gate
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.relays import Relays
from wireguard_mesh.server.rendering import Renderer
from wireguard_mesh.server.routes.carriers import carrier_route
from wireguard_mesh.server.routes.plain import plain_routes
from wireguard_mesh.server.routes.relays import relay_routes
from wireguard_mesh.server.routes.v1 import peer_routes, public_routes
from wireguard_mesh.server.streams import Hub


def make_app(mesh: Mesh, relays: Relays, private_key: PrivateKey, clock: Clock) -> Litestar:
    """An ASGI application that serves `mesh` and its relays under the identity `private_key`."""
    gate = Gate(mesh, private_key, clock)
    renderer = Renderer(mesh)
    hub = Hub(mesh.snapshot, renderer.text_of)
    mesh.on_publish(hub.publish)
    server_key = private_key.public_key
    return Litestar(
        route_handlers=[
            *plain_routes(mesh, gate, renderer, server_key),
            *peer_routes(mesh, gate, renderer, hub, clock),
            carrier_route(gate, relays, Carriers(clock)),
            *relay_routes(mesh, gate, relays, clock),
            *public_routes(mesh, gate, hub, clock, server_key, relays),
        ],
        exception_handlers={
            MeshError: mesh_error_handler(lambda: gate.instance),
            HTTPException: answer_http_exception,
            Exception: answer_fault,
        },
        request_max_body_size=MAX_BODY,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )

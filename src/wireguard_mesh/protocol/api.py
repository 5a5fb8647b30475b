"""Our own HTTP messages, under `/v1/`. All but three are signed (`protocol.signatures`):
`/v1/server`, `/v1/health` and the description of all, `/v1/openapi.json`. The stream of events is in `protocol.events`.

| request                                    | answer             | errors                                      |
| ------------------------------------------ | ------------------ | ------------------------------------------- |
| `GET /v1/server`                           | `ServerInfo`       |                                             |
| `GET /v1/health`                           | `Health`           | 503, with `Health` too                      |
| `POST /v1/register` `RegisterRequest`      | `RegisterResponse` | 400, 401, 403, 413, 429, 503, 507           |
| `POST /v1/heartbeat` `HeartbeatRequest`    | `HeartbeatResponse`| 400, 401, 404 (register again), 413, 429,    |
|                                            |                    | 503, 507                                    |
| `GET /v1/map?since=EPOCH.REVISION`         | `MapUpdate`        | 400, 401, 404 (register again)              |
| `GET /v1/map/stream?since=EPOCH.REVISION`  | events             | 400, 401, 404 (register again), 503         |
| `DELETE /v1/peer`                          | `LeaveResponse`    | 401, 404, 503, 507                          |

Errors are `protocol.seed.ErrorResponse`. Every answer has a `Date`, by which a client with a wrong clock signs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.model.relays import MAX_RELAYS, Relay, RelayDistance, RelayId
from wireguard_mesh.protocol.codec import Decoder

MAX_ENDPOINTS: Final = 16
MAX_MAPPED: Final = 4
MAX_TEXT: Final = 64

Endpoints = Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=MAX_ENDPOINTS)]
Mapped = Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=MAX_MAPPED)]
Distances = Annotated[tuple[RelayDistance, ...], msgspec.Meta(max_length=MAX_RELAYS)]
ShortText = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
LongText = Annotated[str, msgspec.Meta(max_length=253)]


class Admission(StrEnum):
    """Who may become a peer."""

    OPEN = "open"


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a stranger may know: enough to sign the first request. `instance` names the running process,
    and is in every nonce. `time` in Unix seconds."""

    server_public_key: PublicKey
    network: MeshNetwork
    epoch: str
    admission: Admission
    version: str
    instance: str
    time: float


class RelayCounters(msgspec.Struct, frozen=True, kw_only=True):
    """How a relay does. Counts are since its process began."""

    registered: int = 0
    sessions: int = 0
    routes: int = 0
    carriers: int = 0
    forwarded_packets: int = 0
    forwarded_bytes: int = 0


class RelayHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The server's own relay, and its UDP ports. `up`: its process runs."""

    id: RelayId
    up: bool
    ports: tuple[int, ...]
    does: RelayCounters


class RelaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A relay of the map. `does`: None if it has told this server nothing, but another one perhaps."""

    id: RelayId
    does: RelayCounters | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/health`: 200 with `ok`, or 503 with what fails, and how much is served. `uptime` in seconds;
    `streams`: how many follow the map here. `relays`: all that are in the map."""

    status: str
    version: str
    revision: int
    peers: int
    online: int
    uptime: float
    streams: int = 0
    relay: RelayHealth | None = None
    relays: tuple[RelaySummary, ...] = ()


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Join, or say anew what this machine is. The key is the signature's. `endpoints` best first. `since`: the map that
    it has already."""

    hostname: LongText
    os: ShortText = ""
    endpoints: Endpoints = ()
    mapped: Mapped = ()
    distances: Distances = ()
    exit_node: bool = False
    version: ShortText = ""
    since: MapVersion | None = None


class HeartbeatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """This machine lives. What is None stays."""

    endpoints: Endpoints | None = None
    mapped: Mapped | None = None
    distances: Distances | None = None
    exit_node: bool | None = None


class HeartbeatResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`revision` is the mesh's head: a client behind it has something to fetch."""

    epoch: str
    revision: int
    time: float

    @property
    def head(self) -> MapVersion:
        """Which map is the newest."""
        return MapVersion(self.epoch, self.revision)


class LeaveResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The peer is gone, its addresses are quarantined."""

    success: bool = True


class UpdateKind(StrEnum):
    """`snapshot`: forget all that you have. `delta`: change these. `current`: nothing changed."""

    SNAPSHOT = "snapshot"
    DELTA = "delta"
    CURRENT = "current"


class MapUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed for one peer since the revision that it named. `network` comes with a snapshot; `upsert` are records
    that are new or changed, among them the peer's own; `remove` the ids of those to forget, before `upsert`.
    `relays` are all relays, None if they are as before."""

    kind: UpdateKind
    epoch: str
    revision: int
    network: MeshNetwork | None = None
    upsert: tuple[Peer, ...] = ()
    remove: tuple[PeerId, ...] = ()
    relays: tuple[Relay, ...] | None = None

    @property
    def version(self) -> MapVersion:
        """Which map the peer has after it."""
        return MapVersion(self.epoch, self.revision)


class RegisterResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The peer's own record, and at once its map, so that one request is enough to join. A large map is left out: the
    stream brings it in pieces. Times in seconds."""

    peer_id: PeerId
    me: Peer
    map: MapUpdate | None
    heartbeat_seconds: float
    offline_seconds: float


server_info: Decoder[ServerInfo] = Decoder(ServerInfo)
health: Decoder[Health] = Decoder(Health)
register_request: Decoder[RegisterRequest] = Decoder(RegisterRequest)
register_response: Decoder[RegisterResponse] = Decoder(RegisterResponse)
heartbeat_request: Decoder[HeartbeatRequest] = Decoder(HeartbeatRequest)
heartbeat_response: Decoder[HeartbeatResponse] = Decoder(HeartbeatResponse)
map_update: Decoder[MapUpdate] = Decoder(MapUpdate)

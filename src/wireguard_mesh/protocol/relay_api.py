"""What a `vpn-relay` and the server say to each other over HTTP, signed with the relay's own WireGuard key.

| request                                         | answer                  | errors                              |
| ----------------------------------------------- | ----------------------- | ----------------------------------- |
| `POST /v1/relays/register` `RelayRegistration`  | `RelayRegistered`       | 400, 401, 403 (the relay key), 409, |
|                                                 |                         | 429, 503, 507                       |
| `POST /v1/relays/heartbeat` `RelayHeartbeat`    | `RelayHeartbeatResponse`| 400, 401, 404 (register again), 503 |
| `DELETE /v1/relays`                             | `RelayLeft`             | 401, 404, 503                       |
| `GET /v1/map/stream`                            | as a peer gets it       | 401, 404 (register again), 503      |

A relay is known by the key of its first vantage point, which signs. That it may be one it proves with the mesh's relay
key, once for each registration: `proof` is made by `protocol.relay_keys.relay_proof`, for the server's time `time`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Final

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.model.relays import Relay, VantagePoint
from wireguard_mesh.protocol.api import RelayCounters
from wireguard_mesh.protocol.codec import Decoder

HEARTBEAT_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 30.0  # of a relay, which then leaves the map
VANTAGE_POINTS: Final = 2
MAX_OBSERVATIONS: Final = 400  # of one heartbeat: some 50 kB; what does not fit comes with the next one, sent at once
RELAY_HEADER: Final = "mesh-relay"  # in the answer to `GET /v1/relay`: the id of the relay that is reached by it
MAX_PROOF: Final = 64  # characters
MAX_TIME: Final = 1 << 53  # seconds; what every JSON has as a whole number (RFC 8259, section 6)

VantagePoints = Annotated[tuple[VantagePoint, ...], msgspec.Meta(min_length=VANTAGE_POINTS, max_length=VANTAGE_POINTS)]


class RelayRegistration(msgspec.Struct, frozen=True, kw_only=True):
    """Become a relay, or say anew what this one is. `id` as of `model.relays.parse_relay_id`; one address at least.
    `time` in Unix seconds, by the server's clock."""

    id: Annotated[str, msgspec.Meta(max_length=63)]
    vantage_points: VantagePoints
    time: Annotated[int, msgspec.Meta(ge=0, lt=MAX_TIME)]
    proof: Annotated[str, msgspec.Meta(max_length=MAX_PROOF)]
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    version: Annotated[str, msgspec.Meta(max_length=64)] = ""


class RelayRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """The relay as the map has it now. Times in seconds."""

    relay: Relay
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    silence_seconds: float = SILENCE_SECONDS


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From where a vantage point hears a peer. `endpoint` None with `over_web`: by WebSocket only; None without: not
    any more."""

    public_key: PublicKey
    vantage: Annotated[int, msgspec.Meta(ge=0, lt=VANTAGE_POINTS)]
    endpoint: Endpoint | None = None
    over_web: bool = False


class RelayHeartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """This relay lives; each `HEARTBEAT_SECONDS`, and soon after it observed something. `observations` are those since
    the last heartbeat that was answered, and all of them after a registration. `map`: the one it forwards by."""

    observations: Annotated[tuple[Observation, ...], msgspec.Meta(max_length=MAX_OBSERVATIONS)] = ()
    counters: RelayCounters = RelayCounters()
    map: MapVersion | None = None


class RelayHeartbeatResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`epoch` and `revision` of the mesh; `time` of the server, in Unix seconds."""

    epoch: str
    revision: int
    time: float


class RelayLeft(msgspec.Struct, frozen=True, kw_only=True):
    """The relay is in the map no more."""

    success: bool = True


relay_registration: Decoder[RelayRegistration] = Decoder(RelayRegistration)
relay_registered: Decoder[RelayRegistered] = Decoder(RelayRegistered)
relay_heartbeat: Decoder[RelayHeartbeat] = Decoder(RelayHeartbeat)
relay_heartbeat_response: Decoder[RelayHeartbeatResponse] = Decoder(RelayHeartbeatResponse)

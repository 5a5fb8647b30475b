"""The plain HTTP messages: `POST /register`, `POST /heartbeat`, `GET /peers`.

Their fields and types are fixed: other programs speak them. Empty strings mean "none", as they always did there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from wireguard_mesh.model.peers import Peer
from wireguard_mesh.protocol.codec import Decoder

_FIRST_MOMENT: Final = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST_MOMENT: Final = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Register a key, or refresh its registration. `request_ip` false: look up only, allocate nothing."""

    public_key: str
    hostname: str = ""
    os: str = ""
    endpoint: str = ""
    request_ip: bool = True
    exit_node: bool = False


class RegisterResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The peer's place in the mesh. `network_cidr` is the IPv4 network."""

    success: bool
    assigned_ip: str
    network_cidr: str
    peer_id: str
    server_public_key: str


class HeartbeatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The peer lives; a non-empty `endpoint` replaces the one that stands."""

    peer_id: str
    endpoint: str = ""


class HeartbeatResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Only says that it was heard."""

    success: bool


class PeerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One peer. `last_heartbeat` is RFC 3339 in UTC with whole seconds."""

    id: str
    public_key: str
    virtual_ip: str
    endpoint: str
    hostname: str
    os: str
    allowed_ips: tuple[str, ...]
    exit_node: bool
    online: bool
    last_heartbeat: str


class PeersResponse(msgspec.Struct, frozen=True, kw_only=True):
    """All peers but the one that asks, by address."""

    peers: tuple[PeerEntry, ...]


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Any refusal, here and under `/v1/`: a stable word, what is wrong, and what to do about it."""

    code: str
    error: str
    hint: str = ""
    success: bool = False


def peer_entry(peer: Peer, last_heartbeat: float) -> PeerEntry:
    """One peer as `GET /peers` shows it; `last_heartbeat` in Unix seconds. Only IPv4 is known there.

    `endpoint` is the best that is known: the peer's own, else one from which a relay hears it.
    """
    return PeerEntry(
        id=peer.id,
        public_key=peer.public_key.to_base64(),
        virtual_ip=str(peer.ipv4),
        endpoint=next(map(str, peer.endpoints or peer.reflexive), ""),
        hostname=peer.hostname,
        os=peer.os,
        allowed_ips=(f"{peer.ipv4}/32",),
        exit_node=peer.exit_node,
        online=peer.online,
        last_heartbeat=rfc3339(last_heartbeat),
    )


def rfc3339(moment: float) -> str:
    """Unix seconds as `2024-01-01T12:00:00Z` (RFC 3339, UTC); what that cannot express as the nearest that it can."""
    seconds = min(max(moment, _FIRST_MOMENT), _LAST_MOMENT)
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


register_request: Decoder[RegisterRequest] = Decoder(RegisterRequest)
heartbeat_request: Decoder[HeartbeatRequest] = Decoder(HeartbeatRequest)

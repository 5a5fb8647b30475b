"""What the agent and the commands on the same machine tell each other, over the agent's Unix socket.

One line of JSON each way, then the agent closes. The user at the other end is known from the socket itself: everybody
may ask for the status, only root and the agent's own user may change anything.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Final

import msgspec

from wireguard_mesh.model.devices import BackendKind
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname, InterfaceName, PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.protocol.codec import Decoder
from wireguard_mesh.protocol.seed import rfc3339

VERSION: Final = 1
MAX_REQUEST: Final = 4096  # bytes
MAX_ANSWER: Final = 64 * 1024 * 1024  # bytes; some 400 for each peer

_Text = Annotated[str, msgspec.Meta(max_length=253)]


class StatusRequest(msgspec.Struct, frozen=True, tag="status"):
    """Answered with `Status`."""


class DownRequest(msgspec.Struct, frozen=True, tag="down"):
    """End, with interface and all. Answered with `Done` when it is gone."""


class LogoutRequest(msgspec.Struct, frozen=True, tag="logout"):
    """Leave the mesh, then as `DownRequest`."""


class SetRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="set"):
    """Change what is not None, now and for later. `use_exit_node`: `auto`, `off`, or a peer. Answered with `Done`."""

    use_exit_node: _Text | None = None
    exit_node: bool | None = None
    hostname: _Text | None = None


Request = StatusRequest | DownRequest | LogoutRequest | SetRequest


class State(StrEnum):
    """`stopped`: no agent runs. `joining`: it has no map yet. `up`: the mesh stands."""

    STOPPED = "stopped"
    JOINING = "joining"
    UP = "up"


class PeerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One other peer. `active`: its tunnel carries packets. `latest_handshake` in Unix seconds, 0 for never."""

    id: PeerId
    hostname: Hostname
    os: str
    public_key: PublicKey
    ipv4: IPv4Address
    ipv6: IPv6Address
    online: bool
    active: bool = False
    exit_node: bool = False
    exit_node_in_use: bool = False
    endpoint: Endpoint | None = None
    allowed_ips: tuple[str, ...] = ()  # in CIDR notation
    latest_handshake: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The control connection. `since`: Unix seconds since when `reachable` is as it is, 0 if not tried yet;
    `heartbeat`: when the last heartbeat was answered, 0 for none yet."""

    address: str
    reachable: bool = False
    since: float = 0.0
    heartbeat: float = 0.0
    problem: str = ""


class MapSource(StrEnum):
    """Where changes of the map come from now. `none`: the server is not reached, or just being called again."""

    NONE = "none"
    STREAM = "stream"
    POLLING = "polling"


class MapStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The map that the agent has, apart from whether server and peers answer.

    `revision` is its own, `head` the newest that the server named, 0 for none; `lag` is how many it is behind, None if
    that is not known. `current`: Unix seconds when it was last known to be the newest, 0 for not since the agent's
    start. `problem` says why changes do not come by stream.
    """

    revision: int = 0
    head: int = 0
    lag: int | None = None
    current: float = 0.0
    source: MapSource = MapSource.NONE
    problem: str = ""


class ExitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Exit nodes: whether this machine is one, what the user asked for, and which peer is in use."""

    offered: bool = False
    policy: str = "auto"
    in_use: PeerId | None = None
    problem: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True, tag="status"):
    """All that a person or program may want to know of this machine's mesh. Times are Unix seconds."""

    version: int = VERSION
    state: State
    agent_version: str = ""
    pid: int | None = None
    started: float = 0.0
    interface: InterfaceName
    backend: BackendKind | None = None
    mtu: int = 0
    listen_port: int = 0
    hostname: str = ""
    peer_id: str = ""
    public_key: PublicKey
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    network: MeshNetwork | None = None
    map: MapStatus = MapStatus()
    server: ServerStatus
    exit: ExitStatus = ExitStatus()
    problems: tuple[str, ...] = ()
    peers: tuple[PeerStatus, ...] = ()


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It is done; `note` says to a person what follows from it, if anything."""

    note: str = ""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """It was not done: a stable word, what is wrong, what to do about it."""

    code: str
    error: str
    hint: str = ""


Answer = Status | Done | Refused

request: Decoder[Request] = Decoder(Request)  # type: ignore[arg-type]  # a union is a type form, not a type
answer: Decoder[Answer] = Decoder(Answer)  # type: ignore[arg-type]  # the same


class PlainPeer(msgspec.Struct, frozen=True, kw_only=True):
    """One peer of the device as `vpn-client -status` prints it. An empty endpoint: none known yet."""

    public_key: str
    endpoint: str
    allowed_ips: tuple[str, ...]
    last_handshake: str
    rx_bytes: int
    tx_bytes: int


class PlainInterface(msgspec.Struct, frozen=True, kw_only=True):
    """The device as `vpn-client -status` prints it."""

    name: str
    num_peers: int
    peers: tuple[PlainPeer, ...]


class PlainStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `vpn-client -status` prints: the fields are fixed, other programs read them."""

    peer_id: str
    assigned_ip: str
    network: str
    public_key: str
    interface: PlainInterface


def plain_status(status: Status) -> PlainStatus:
    """The full status in the plain form; only peers that the device has are in it."""
    peers = tuple(_plain_peer(peer) for peer in status.peers if peer.allowed_ips)
    return PlainStatus(
        peer_id=status.peer_id,
        assigned_ip=str(status.ipv4 or ""),
        network=str(status.network.ipv4) if status.network else "",
        public_key=status.public_key.to_base64(),
        interface=PlainInterface(name=status.interface, num_peers=len(peers), peers=peers),
    )


def _plain_peer(peer: PeerStatus) -> PlainPeer:
    return PlainPeer(
        public_key=peer.public_key.to_base64(),
        endpoint=str(peer.endpoint or ""),
        allowed_ips=peer.allowed_ips,
        last_handshake=rfc3339(peer.latest_handshake) if peer.latest_handshake else "",
        rx_bytes=peer.received_bytes,
        tx_bytes=peer.sent_bytes,
    )

"""The status of one machine's mesh, as the agent tells it to everybody on the machine who asks."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import msgspec

from wireguard_mesh.model.devices import BackendKind
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname, InterfaceName, PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.relays import NatClass, RelayId

VERSION: Final = 1
NO_PATH: Final = PathReport(kind=PathKind.NONE)


class State(StrEnum):
    """`stopped`: no agent runs. `joining`: it has no map yet. `up`: the mesh stands."""

    STOPPED = "stopped"
    JOINING = "joining"
    UP = "up"


class PeerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One other peer. `active`: its tunnel carries packets. `latest_handshake` in Unix seconds, 0 for never.

    `nat` is what relays make of what stands before it, `path` how packets reach it and what was tried to reach it
    directly.
    """

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
    nat: NatClass = NatClass.UNKNOWN
    path: PathReport = NO_PATH


class UdpState(StrEnum):
    """Whether UDP gets from this machine to the relays and back. `unknown`: no relay has been asked yet."""

    UNKNOWN = "unknown"
    WORKS = "works"
    BLOCKED = "blocked"


class Transport(StrEnum):
    """How a relay is reached. `none`: it is not."""

    NONE = "none"
    UDP = "udp"
    WEBSOCKET = "websocket"


class RelayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One relay as this machine sees it. `addresses`: of its first vantage point, none where it is that of the server
    and not known yet. `latest_handshake`: WireGuard's with it, Unix seconds, 0 for never. `milliseconds`: the round
    trip, None if not measured. `pairs`: how many peers are reached by it now."""

    id: RelayId
    addresses: tuple[Endpoint, ...] = ()
    reachable: bool = False
    transport: Transport = Transport.NONE
    latest_handshake: float = 0.0
    milliseconds: float | None = None
    pairs: int = 0


class PortMapping(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine's router forwards to it. `protocol`: by which it was asked (`pcp`, `nat-pmp`, `upnp`), "" if
    none is spoken there or none was asked yet; `endpoint`: the outer address; `problem`: why there is none."""

    protocol: str = ""
    endpoint: Endpoint | None = None
    problem: str = ""


class NatStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between this machine and the internet. `host`: its own addresses, as it tells them to others;
    `reflexive`: from where relays hear it; `mapped`: what its router forwards to it."""

    kind: NatClass = NatClass.UNKNOWN
    host: tuple[Endpoint, ...] = ()
    reflexive: tuple[Endpoint, ...] = ()
    mapped: tuple[Endpoint, ...] = ()


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
    udp: UdpState = UdpState.UNKNOWN
    nat: NatStatus = NatStatus()
    port_mapping: PortMapping = PortMapping()
    relays: tuple[RelayStatus, ...] = ()
    problems: tuple[str, ...] = ()
    peers: tuple[PeerStatus, ...] = ()

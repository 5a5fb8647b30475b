"""What the agent finds when it is asked why the mesh is as it is: `netcheck`, `ping` and `explain`."""

from __future__ import annotations

from typing import Final

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import Hostname, PeerId
from wireguard_mesh.model.paths import PathReport
from wireguard_mesh.model.relays import NatClass, RelayId
from wireguard_mesh.protocol.status import NO_PATH, NatStatus, PortMapping, UdpState

VERSION: Final = 1


class VantageCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What pings to one vantage point of a relay brought. `milliseconds`: the median, None if none was answered;
    `mapped`: from where the relay heard them, which is not where it hears WireGuard."""

    relay: RelayId
    number: int
    endpoint: Endpoint
    sent: int = 0
    answered: int = 0
    milliseconds: float | None = None
    mapped: Endpoint | None = None


class FamilyCheck(msgspec.Struct, frozen=True, kw_only=True):
    """IPv4 or IPv6. `addresses`: of this machine, on links that lead out; `works`: a relay or the server was reached
    by it, None if there was nothing to reach."""

    addresses: tuple[str, ...] = ()
    works: bool | None = None


class WebCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The server's port for HTTP, which carries WireGuard's packets too where UDP is blocked. `websocket`: whether it
    lets a WebSocket through, None if it was not tried. `proxy`: the HTTP proxy in between, without its password."""

    reachable: bool = False
    milliseconds: float | None = None
    websocket: bool | None = None
    proxy: str = ""
    problem: str = ""


class Netcheck(msgspec.Struct, frozen=True, kw_only=True, tag="netcheck"):
    """What the network around this machine lets through, tried just now.

    `nat`: what pings from a socket of their own tell; `wireguard`: what relays tell of WireGuard's own socket, of
    which the path between peers depends.
    """

    version: int = VERSION
    udp: UdpState
    ipv4: FamilyCheck = FamilyCheck()
    ipv6: FamilyCheck = FamilyCheck()
    nat: NatClass = NatClass.UNKNOWN
    wireguard: NatStatus = NatStatus()
    vantage_points: tuple[VantageCheck, ...] = ()
    port_mapping: PortMapping = PortMapping()
    web: WebCheck = WebCheck()
    problems: tuple[str, ...] = ()


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag="pong"):
    """What came of one ping through the tunnel. `milliseconds`: None if no answer came in time; `problem` says why
    none could. `path`: how packets reach the peer at the moment of the answer, without what was tried."""

    peer: PeerId
    hostname: Hostname
    address: str
    sequence: int
    milliseconds: float | None = None
    path: PathReport = NO_PATH
    problem: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True, tag="explanation"):
    """Why the path to a peer is what it is, in sentences. `summary`: in one; `ends`: what stands before each of both
    machines; `candidates`: a line for each address at which the peer might be reached directly; `why`: what follows
    from it; `advice`: what would help, nothing if nothing is wrong."""

    version: int = VERSION
    peer: PeerId
    hostname: Hostname
    nat: NatClass = NatClass.UNKNOWN
    peer_nat: NatClass = NatClass.UNKNOWN
    path: PathReport = NO_PATH
    summary: str
    ends: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

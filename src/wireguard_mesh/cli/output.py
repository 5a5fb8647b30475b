"""How a status reads for a person: pure functions from values to lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wireguard_mesh.core import path_words
from wireguard_mesh.core.path_words import age
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.status import (
    MapSource,
    MapStatus,
    NatStatus,
    PeerStatus,
    PortMapping,
    RelayStatus,
    State,
    Status,
    Transport,
)

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024
_STATES: Final = {
    State.STOPPED: "stopped: no agent runs; start one with vpn-client up",
    State.JOINING: "joining: no map from the server yet",
    State.UP: "up",
}

_NATS: Final = {
    NatClass.UNKNOWN: "unknown",
    NatClass.PUBLIC: "none",
    NatClass.EASY: "easy",
    NatClass.HARD: "hard",
    NatClass.BLOCKED: "UDP is blocked",
}
_TRANSPORTS: Final = {Transport.NONE: "nothing", Transport.UDP: "UDP", Transport.WEBSOCKET: "WebSocket"}
_SOURCES: Final = {
    MapSource.STREAM: "changes come by stream",
    MapSource.NONE: "changes do not come now",
}


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns aligned to the left, two blanks between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def size(count: int) -> str:
    """Bytes in the largest unit that leaves a whole part: `1.5 MiB`."""
    amount = float(count)
    for unit in _UNITS[:-1]:
        if amount < _STEP:
            return f"{amount:.0f} {unit}" if unit == _UNITS[0] else f"{amount:.1f} {unit}"
        amount /= _STEP
    return f"{amount:.1f} {_UNITS[-1]}"


def status_lines(status: Status, wall: float) -> list[str]:
    """The whole status: a line for this machine, one for each peer, a summary. `wall` is now, in Unix seconds."""
    if status.ipv4 is None and not status.hostname:
        return _summary(status, wall)  # it has no place in the mesh yet
    own = [str(status.ipv4 or "-"), status.hostname or "-", "this machine", _STATES[status.state].partition(":")[0]]
    rows = [[own[0], own[1], own[2], own[3], "", ""], *(_row(peer, wall) for peer in status.peers)]
    return [*table(rows), "", *_summary(status, wall)]


def _row(peer: PeerStatus, wall: float) -> list[str]:
    return [
        str(peer.ipv4),
        peer.hostname,
        peer.os or "-",
        path_of(peer),
        _notes(peer, wall),
        f"rx {size(peer.received_bytes)}, tx {size(peer.sent_bytes)}" if peer.allowed_ips else "",
    ]


def path_of(peer: PeerStatus) -> str:
    """How packets reach it: `direct 203.0.113.4:51820`, `relay fra-1`, `offline`, or what is tried."""
    if peer.path.kind is not PathKind.NONE:
        return path_words.path(peer.path)
    if not peer.online:
        return "offline"
    return f"no answer from {peer.path.endpoint}" if peer.path.endpoint else "no path"


def _notes(peer: PeerStatus, wall: float) -> str:
    words = []
    if peer.exit_node:
        words.append("exit node in use" if peer.exit_node_in_use else "offers exit node")
    if peer.path.kind is not PathKind.NONE and not peer.online:
        words.append("not heard by the server")
    if peer.latest_handshake:
        words.append(f"handshake {age(wall - peer.latest_handshake)} ago")
    return ", ".join(words) or "-"


def _summary(status: Status, wall: float) -> list[str]:
    network = f"{status.network.ipv4}, {status.network.ipv6}" if status.network else "unknown yet"
    rows = [
        ["state", _STATES[status.state]],
        ["network", network],
        ["address", ", ".join(str(address) for address in (status.ipv4, status.ipv6) if address) or "none yet"],
        ["interface", _interface(status)],
        ["peers", _peers(status.peers)],
        ["nat", nat(status.nat)],
        *([["mapping", port_mapping(status.port_mapping)]] if _has_mapping(status) else []),
        *([["relays", "; ".join(map(_relay, status.relays))]] if status.relays else []),
        ["server", _server(status, wall)],
        *([["map", _map(status.map, wall)]] if status.state is not State.STOPPED else []),
        ["exit node", _exit(status)],
        *(["problem", problem] for problem in status.problems),
    ]
    return table(rows)


def _has_mapping(status: Status) -> bool:
    """Whether it is worth a line how the router forwards ports: where there is a NAT."""
    known = status.port_mapping
    return known.endpoint is not None or (known != PortMapping() and status.nat.kind is not NatClass.PUBLIC)


def _peers(peers: Sequence[PeerStatus]) -> str:
    online = sum(peer.online for peer in peers)
    direct = sum(peer.path.kind is PathKind.DIRECT for peer in peers)
    relayed = sum(peer.path.kind is PathKind.RELAY for peer in peers)
    return f"{len(peers)}, {online} of them online, {direct} direct, {relayed} by relay"


def nat(known: NatStatus) -> str:
    """What stands before this machine: `easy, heard from 203.0.113.4:1027`."""
    words = [_NATS[known.kind]]
    if known.reflexive:
        words.append(f"heard from {path_words.listed(map(str, known.reflexive))}")
    if known.mapped:
        words.append(f"the router forwards {path_words.listed(map(str, known.mapped))}")
    return ", ".join(words)


def port_mapping(known: PortMapping) -> str:
    """What the router forwards: `203.0.113.4:51820, by pcp`."""
    if known.endpoint is not None:
        return f"{known.endpoint}, by {known.protocol}"
    return known.problem or "the router maps none"


def milliseconds(value: float | None) -> str:
    """`12.3 ms`, or `-`."""
    return "-" if value is None else f"{value:.1f} ms"


def _relay(relay: RelayStatus) -> str:
    if not relay.reachable:
        return f"{relay.id} not reached"
    words = [f"{relay.id} by {_TRANSPORTS[relay.transport]}"]
    if relay.milliseconds is not None:
        words.append(milliseconds(relay.milliseconds))
    if relay.pairs:
        words.append(f"{relay.pairs} peer{'s' if relay.pairs > 1 else ''} by it")
    return ", ".join(words)


def _interface(status: Status) -> str:
    words = [status.interface, f"{status.backend} WireGuard" if status.backend else "does not stand"]
    if status.listen_port:
        words.append(f"UDP port {status.listen_port}")
    if status.mtu:
        words.append(f"MTU {status.mtu}")
    return ", ".join(words)


def _server(status: Status, wall: float) -> str:
    server = status.server
    if status.state is State.STOPPED or not server.since:
        return server.address or "none"
    since = age(wall - server.since)
    if server.reachable:
        heard = f", last heartbeat {age(wall - server.heartbeat)} ago" if server.heartbeat else ""
        return f"{server.address}, answering for {since}{heard}"
    return f"{server.address}, not answering for {since}: {server.problem}"


def _map(known: MapStatus, wall: float) -> str:
    if not known.revision:
        return "none yet"
    words = [f"revision {known.revision}"]
    if known.lag:
        words.append(f"{known.lag} behind the server")
    words.append(f"current {age(wall - known.current)} ago" if known.current else "of the last run")
    if known.source is MapSource.POLLING:
        words.append(f"changes are asked for now and then, since they do not come by stream: {known.problem}")
    else:
        words.append(_SOURCES[known.source])
    return ", ".join(words)


def _exit(status: Status) -> str:
    in_use = next((peer.hostname for peer in status.peers if peer.exit_node_in_use), None)
    words = [in_use or "none", f"use-exit-node is {status.exit.policy}"]
    if status.exit.offered:
        words.append("this machine is one")
    if status.exit.problem:
        words.append(status.exit.problem)
    return ", ".join(words)

"""How a status reads for a person: pure functions from values to lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wireguard_mesh.protocol.status import MapSource, MapStatus, PeerStatus, State, Status

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024
_STATES: Final = {
    State.STOPPED: "stopped: no agent runs; start one with vpn-client up",
    State.JOINING: "joining: no map from the server yet",
    State.UP: "up",
}

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


def age(seconds: float) -> str:
    """How long ago: `42s`, `7m`, `3h`, `5d`."""
    whole = max(0, int(seconds))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def status_lines(status: Status, wall: float) -> list[str]:
    """The whole status: a line for this machine, one for each peer, a summary. `wall` is now, in Unix seconds."""
    if status.ipv4 is None and not status.hostname:
        return _summary(status, wall)  # it has no place in the mesh yet
    own = [str(status.ipv4 or "-"), status.hostname or "-", "this machine", _STATES[status.state].partition(":")[0]]
    rows = [[*own, *[""] * 2], *(_row(peer, wall) for peer in status.peers)]
    return [*table(rows), "", *_summary(status, wall)]


def _row(peer: PeerStatus, wall: float) -> list[str]:
    return [
        str(peer.ipv4),
        peer.hostname,
        peer.os or "-",
        "online" if peer.online else "offline",
        _tunnel(peer, wall),
        f"rx {size(peer.received_bytes)}, tx {size(peer.sent_bytes)}" if peer.allowed_ips else "",
    ]


def _tunnel(peer: PeerStatus, wall: float) -> str:
    words = []
    if peer.exit_node:
        words.append("exit node in use" if peer.exit_node_in_use else "offers exit node")
    if peer.active and peer.endpoint:
        words.append(f"direct {peer.endpoint}")
    elif peer.allowed_ips:
        words.append(f"no answer from {peer.endpoint}" if peer.endpoint else "no endpoint known")
    if peer.latest_handshake:
        words.append(f"handshake {age(wall - peer.latest_handshake)} ago")
    return ", ".join(words) or "-"


def _summary(status: Status, wall: float) -> list[str]:
    active = sum(peer.active for peer in status.peers)
    online = sum(peer.online for peer in status.peers)
    network = f"{status.network.ipv4}, {status.network.ipv6}" if status.network else "unknown yet"
    rows = [
        ["state", _STATES[status.state]],
        ["network", network],
        ["address", ", ".join(str(address) for address in (status.ipv4, status.ipv6) if address) or "none yet"],
        ["interface", _interface(status)],
        ["peers", f"{len(status.peers)}, {online} of them online, {active} with a live tunnel"],
        ["server", _server(status, wall)],
        *([["map", _map(status.map, wall)]] if status.state is not State.STOPPED else []),
        ["exit node", _exit(status)],
        *(["problem", problem] for problem in status.problems),
    ]
    return table(rows)


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
        return f"{server.address}, answers since {since}{heard}"
    return f"{server.address}, does not answer since {since}: {server.problem}"


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

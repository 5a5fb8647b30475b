"""`vpn-client bugreport`: what somebody needs to know who is to help, masked."""

from __future__ import annotations

import platform
import shutil
import time
from ipaddress import ip_address

import click

from wireguard_mesh import __version__
from wireguard_mesh.cli.place import Place
from wireguard_mesh.cli.showing import current_status
from wireguard_mesh.core.path_words import age
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.protocol.status import PeerStatus, Status

_PROGRAMS = ("wireguard-go", "wg", "nft", "ping")


def print_report(place: Place) -> None:
    """Print it; a part that cannot be had says why."""
    lines = [
        f"vpn-client {__version__}, Python {platform.python_version()}",
        f"{platform.system()} {platform.release()} {platform.machine()}",
        "programs: " + ", ".join(f"{name} {'yes' if shutil.which(name) else 'no'}" for name in _PROGRAMS),
    ]
    try:
        lines += report_lines(current_status(place), time.time())
    except MeshError as error:
        lines.append(f"status: {error.code}")
    click.echo("\n".join(lines))


def report_lines(status: Status, wall: float) -> list[str]:
    """The status without keys, names and public addresses. `wall` is now, in Unix seconds."""
    server, exit_node = status.server, status.exit
    reached = "reachable" if server.reachable else "not reachable"
    since = age(wall - server.since) if server.since else "never"
    policy = _masked_policy(exit_node.policy)
    return [
        f"state {status.state}, agent {status.agent_version or 'none'}, backend {status.backend}",
        f"interface {status.interface}, MTU {status.mtu}, port {status.listen_port}, revision {status.map.revision}",
        f"server by {server.address.partition('://')[0]}, {reached} since {since}",
        f"exit node: offered {exit_node.offered}, policy {policy}, in use {exit_node.in_use}",
        f"problems {len(status.problems)}",
        *(_peer_line(peer, wall) for peer in status.peers),
    ]


def _masked_policy(policy: str) -> str:
    return policy if policy in {"auto", "off"} else "peer"


def _peer_line(peer: PeerStatus, wall: float) -> str:
    handshake = age(wall - peer.latest_handshake) if peer.latest_handshake else "never"
    return (
        f"{peer.id} {peer.os} online={peer.online} active={peer.active} exit={peer.exit_node} "
        f"endpoint={_masked(peer.endpoint)} handshake={handshake} rx={peer.received_bytes} tx={peer.sent_bytes}"
    )


def _masked(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return "none"
    return f"{_kind(endpoint.address)}:{endpoint.port}"


def _kind(address: Address) -> str:
    known = ip_address(address)
    return f"{'private' if known.is_private else 'public'}-ipv{known.version}"

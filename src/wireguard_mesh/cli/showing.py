"""`vpn-client status`, `-status`, `ip` and `exit-node list`: read-only commands."""

from __future__ import annotations

import time
from typing import Final

import click

from wireguard_mesh.cli.output import status_lines, table
from wireguard_mesh.cli.place import Place
from wireguard_mesh.client.local_client import NoAgent
from wireguard_mesh.core.called import the_one
from wireguard_mesh.core.exit_nodes import matches
from wireguard_mesh.model.errors import NotFound
from wireguard_mesh.model.names import Hostname, PeerId
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode_readable
from wireguard_mesh.protocol.plain_status import plain_status
from wireguard_mesh.protocol.status import PeerStatus, Status

_NO_ADDRESS: Final = "this machine has no address in the mesh yet"


def current_status(place: Place) -> Status:
    """What the agent says, or disk and device if none runs. Raises `NoAgent` if this machine is in no mesh."""
    try:
        return place.ask(local.StatusRequest(), Status)
    except NoAgent:
        return _status_without_agent(place)


def _status_without_agent(place: Place) -> Status:
    state = place.folder.load()
    if state is None:
        raise NoAgent(
            "no agent runs, and this machine is in no mesh yet", "join one: vpn-client -server http://SERVER:8080"
        )
    import asyncio

    from wireguard_mesh.client.teardown import offline_status
    from wireguard_mesh.wireguard.choose import choose

    return asyncio.run(offline_status(place.folder, state, place.interface(state), choose))


def print_plain_status(place: Place) -> None:
    """`-status`: JSON whose fields are fixed."""
    click.echo(encode_readable(plain_status(current_status(place))), nl=False)


def print_status(place: Place, *, as_json: bool) -> None:
    """For a person, or all of it for a program."""
    status = current_status(place)
    text = encode_readable(status) if as_json else "\n".join(status_lines(status, time.time())) + "\n"
    click.echo(text, nl=False)


def print_addresses(place: Place, name: str | None, *, ipv4: bool, ipv6: bool) -> None:
    """One address a line."""
    status = current_status(place)
    owner = status if name is None else find(status, name)
    wanted = [address for address, asked in ((owner.ipv4, ipv4), (owner.ipv6, ipv6)) if asked and address]
    if not wanted:
        raise NotFound(_NO_ADDRESS)
    click.echo("\n".join(map(str, wanted)))


def find(status: Status, name: str) -> PeerStatus | Status:
    """The one machine that a user who says `name` means; the status itself is this one. Raises `NotFound`."""
    found: list[tuple[str, PeerStatus | Status]] = []
    if status.ipv4 is not None and status.ipv6 is not None:
        me = Peer(
            id=PeerId(status.peer_id),
            public_key=status.public_key,
            hostname=Hostname(status.hostname),
            os="",
            ipv4=status.ipv4,
            ipv6=status.ipv6,
        )
        found = [(me.id, status)] if matches(me, name.lower()) else []
    found += [(peer.id, peer) for peer in status.peers if matches(_as_peer(peer), name.lower())]
    return the_one(name, found)


def _as_peer(peer: PeerStatus) -> Peer:
    return Peer(
        id=peer.id, public_key=peer.public_key, hostname=peer.hostname, os=peer.os, ipv4=peer.ipv4, ipv6=peer.ipv6
    )


def print_exit_nodes(place: Place, *, as_json: bool) -> None:
    """A line for each peer that offers it, or a list for a program."""
    nodes = [peer for peer in current_status(place).peers if peer.exit_node]
    if as_json:
        click.echo(encode_readable(nodes), nl=False)
        return
    if not nodes:
        click.echo("no peer offers an exit node", err=True)
        return
    rows = [
        [
            str(peer.ipv4),
            peer.hostname,
            "online" if peer.online else "offline",
            "in use" if peer.exit_node_in_use else "",
        ]
        for peer in nodes
    ]
    click.echo("\n".join(table(rows)))

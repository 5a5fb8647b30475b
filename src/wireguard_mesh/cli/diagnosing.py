"""`vpn-client ping`, `netcheck` and `explain`: how a peer is reached, what the network lets through, and why."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import click

from wireguard_mesh.cli.diagnosis_output import explanation_lines, netcheck_lines, ping_summary, pong_line
from wireguard_mesh.cli.errors import FAILED
from wireguard_mesh.cli.place import Place
from wireguard_mesh.cli.showing import current_status, find
from wireguard_mesh.client.local_client import NoAgent, ask
from wireguard_mesh.core.explaining import explain
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode_readable
from wireguard_mesh.protocol.diagnosis import Explanation, Netcheck, Pong
from wireguard_mesh.protocol.status import PeerStatus, Status

INTERVAL: Final = 1.0  # seconds between two pings, as ping has it
DEFAULT_COUNT: Final = 4
DEFAULT_UNTIL_DIRECT: Final = 10  # pings until a direct path is given up, as people know it of others

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class PingOptions:
    """As the flags say. `count` None: the default of what is asked."""

    count: int | None
    timeout: float
    is_ipv6: bool
    until_direct: bool

    @property
    def times(self) -> int:
        """How many pings there are at most."""
        return self.count or (DEFAULT_UNTIL_DIRECT if self.until_direct else DEFAULT_COUNT)


def ping_peer(place: Place, name: str, options: PingOptions, sleep: Sleep = time.sleep) -> None:
    """Ping, a line each, then a summary. Ends with an error code if nothing was answered, or no direct path came."""
    peer = _peer(current_status(place), name)
    socket = place.socket()
    pongs: list[Pong] = []
    try:
        for sequence in range(1, options.times + 1):
            started = time.monotonic()
            request = local.PingRequest(
                peer=peer.id,
                timeout=options.timeout,
                is_ipv6=options.is_ipv6,
                sequence=sequence % (local.MAX_SEQUENCE + 1),
            )
            pongs.append(ask(socket, request, Pong))
            click.echo(pong_line(pongs[-1]))
            if sequence == options.times or (options.until_direct and _is_direct(pongs[-1])):
                break
            sleep(max(0.0, INTERVAL - (time.monotonic() - started)))
    except KeyboardInterrupt:
        click.echo()  # who has seen enough gets the summary
    if not pongs:
        raise click.Abort
    click.echo("\n".join(ping_summary(pongs)))
    _end(pongs, options)


def _end(pongs: list[Pong], options: PingOptions) -> None:
    is_good = any(pong.milliseconds is not None for pong in pongs)
    if options.until_direct:
        is_good = _is_direct(pongs[-1])
        if not is_good:
            click.echo(f"no direct path yet; why: vpn-client explain {pongs[-1].hostname}", err=True)
    elif not is_good:
        click.echo(f"nothing came back; why: vpn-client explain {pongs[-1].hostname}", err=True)
    if not is_good:
        raise click.exceptions.Exit(FAILED)


def _is_direct(pong: Pong) -> bool:
    return pong.milliseconds is not None and pong.path.kind is PathKind.DIRECT


def _peer(status: Status, name: str) -> PeerStatus:
    found = find(status, name)
    if isinstance(found, Status):
        raise InvalidValue(f"{name} is this machine itself", "name another: vpn-client status")
    return found


def print_explanation(place: Place, name: str, *, as_json: bool) -> None:
    """In words, or as values for a program."""
    told = explanation(place, name)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    click.echo(encode_readable(told) if as_json else "\n".join(explanation_lines(told, width)) + "\n", nl=False)


def explanation(place: Place, name: str) -> Explanation:
    """By the agent, or by disk and device if none runs."""
    status = current_status(place)
    peer = _peer(status, name)
    try:
        return ask(place.socket(), local.ExplainRequest(peer.id), Explanation)
    except NoAgent:
        return explain(status, peer, time.time())


def print_netcheck(place: Place, *, as_json: bool) -> None:
    """For a person, or all of it for a program."""
    found = current_netcheck(place)
    click.echo(encode_readable(found) if as_json else "\n".join(netcheck_lines(found)) + "\n", nl=False)


def current_netcheck(place: Place) -> Netcheck:
    """Tried by the agent, or by ourselves if none runs. Raises `NoAgent` if this machine is in no mesh."""
    try:
        return place.ask(local.NetcheckRequest(), Netcheck)
    except NoAgent:
        state = place.folder.load()
        if state is None or state.server is None:
            raise NoAgent(
                "no agent runs, and this machine is in no mesh yet", "join one: vpn-client -server http://SERVER:8080"
            ) from None
    from wireguard_mesh.client.lone_netcheck import lone_netcheck

    return asyncio.run(lone_netcheck(place.folder, state, place.directory))

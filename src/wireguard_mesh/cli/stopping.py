"""`vpn-client down`, `logout` and `set`: by the agent if one runs, by ourselves if none does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from wireguard_mesh.cli.place import Place
from wireguard_mesh.client.local_client import NoAgent
from wireguard_mesh.client.locks import Lock, hold_interface
from wireguard_mesh.client.state import ClientState
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.protocol import local

if TYPE_CHECKING:
    from wireguard_mesh.wireguard.interface import Backend

_AGENT_TIMEOUT: Final = (
    10.0  # seconds that an agent may take from its lock to its socket, and from its end to its lock's
)
_POLL: Final = 0.05  # seconds


def take_down(place: Place) -> None:
    """End the agent, remove the interface, undo all that was set for it."""
    lock = _ask_or_lock(place, local.DownRequest())
    if lock is not None:
        with lock:
            state = _load(place)
            _take_down_without_agent(place, state, place.interface(state))


def log_out(place: Place) -> None:
    """Leave the mesh, then as `take_down`."""
    lock = _ask_or_lock(place, local.LogoutRequest())
    if lock is not None:
        with lock:
            state = _load(place)
            if state is None:
                raise InvalidValue("this machine is in no mesh")
            from wireguard_mesh.client.teardown import leave

            asyncio.run(leave(place.folder, state))
            _take_down_without_agent(place, state, place.interface(state))


def change(place: Place, use_exit_node: str | None, exit_node: bool | None, hostname: str | None) -> None:
    """Change settings of the running agent."""
    if use_exit_node is None and exit_node is None and hostname is None:
        raise click.UsageError("nothing to set; see vpn-client set -help")
    _say(place.ask(local.SetRequest(use_exit_node=use_exit_node, exit_node=exit_node, hostname=hostname), local.Done))


def _ask_or_lock(place: Place, request: local.Request) -> Lock | None:
    """Have the agent do it: None. If none runs: the lock that keeps one from starting while we do it ourselves.

    An agent that starts or ends just now has the lock, but no socket: it is waited for. Raises `Conflict` if that does
    not end.
    """
    deadline = time.monotonic() + _AGENT_TIMEOUT
    while True:
        try:
            _say(place.ask(request, local.Done))
        except NoAgent:
            pass
        else:
            return None
        from wireguard_mesh.client import launch

        launch.check_privilege()
        try:
            return hold_interface(place.directory, place.interface(place.identity()))
        except Conflict as error:
            if time.monotonic() >= deadline:
                raise Conflict(f"{error.message}, but does not answer", "end it with kill, then try again") from None
        time.sleep(_POLL)


def _say(answer: local.Done) -> None:
    if answer.note:
        click.echo(f"vpn-client: {answer.note}", err=True)


def _load(place: Place) -> ClientState | None:
    """The identity; one that cannot be read does not keep the interface standing that the journal says is ours."""
    try:
        return place.folder.load()
    except MeshError as error:
        click.echo(f"vpn-client: {error.message}", err=True)
        return None


def _take_down_without_agent(place: Place, state: ClientState | None, interface: InterfaceName) -> None:
    from wireguard_mesh.client import teardown

    if not asyncio.run(_remove(place, state, interface)):
        click.echo(f"{interface} does not stand: nothing to do", err=True)
    teardown.remove_socket(place.directory, interface)


async def _remove(place: Place, state: ClientState | None, interface: InterfaceName) -> bool:
    from wireguard_mesh.client.teardown import take_down as remove
    from wireguard_mesh.system.linux import LinuxSystem

    backend, system = await _backend(interface), LinuxSystem(Path(place.directory))
    try:
        return await remove(interface, state, backend, system)
    finally:
        if backend is not None:
            await backend.close()
        await system.close()


async def _backend(interface: InterfaceName) -> Backend | None:
    from wireguard_mesh.wireguard.choose import choose

    try:
        return await choose(interface)
    except Unsupported:
        return None  # what was set in the system can be undone all the same

"""`vpn-client` and `vpn-client up`: settle the identity, then run the agent here or in the background."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import click

from wireguard_mesh.cli.place import Place
from wireguard_mesh.client import launch
from wireguard_mesh.client.identity import Consent, settle
from wireguard_mesh.client.local_client import ask
from wireguard_mesh.client.locks import alone
from wireguard_mesh.client.membership import Intervals
from wireguard_mesh.client.options import AgentOptions, Flags
from wireguard_mesh.client.state import ClientState
from wireguard_mesh.model.errors import Conflict, MeshError, Unavailable
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.places import socket_path
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.status import State, Status

MAX_LOG: Final = 1024 * 1024  # bytes of a log that the next `up` goes on with
_POLL: Final = 0.05  # seconds
_LOG_MODE: Final = 0o600
_READABLE: Final = "%(asctime)s %(message)s"
_DETAILED: Final = "%(created).3f %(levelname)s %(name)s: %(message)s"  # for measurements too


def run_in_foreground(place: Place, given: dict[str, Any]) -> None:
    """Run the agent until it is told to end."""
    level = given["log_level"]
    logging.basicConfig(
        level=level.upper(), format=_DETAILED if level == "debug" else _READABLE, datefmt="%H:%M:%S", stream=sys.stderr
    )
    launch.check_privilege()
    flags = _flags(place, given)
    with _alone(place):
        state = _settle(place, flags, given)
        launch.run(AgentOptions(folder=place.folder, directory=place.directory, state=state, flags=flags))


def start_in_background(place: Place, given: dict[str, Any], seconds: float) -> None:
    """Start an agent that outlives this program, and wait up to `seconds` until its mesh is up."""
    launch.check_privilege()
    flags = _flags(place, given)
    socket = place.socket()
    try:
        running = ask(socket, local.StatusRequest(), Status)
    except MeshError:
        running = None
    if running is not None:
        raise Conflict(f"an agent runs already (process {running.pid})", "change it with vpn-client set")
    with _alone(place):
        state = _settle(place, flags, given)
    log = place.folder.log_path
    offset = _prepare_log(log)
    with log.open("ab") as file:
        process = subprocess.Popen(
            _command(place, state.interface, given),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd="/",
        )
    status = _await_mesh(Path(socket_path(place.directory, state.interface)), process, log, offset, seconds)
    click.echo(f"{status.hostname} is {status.ipv4} and {status.ipv6} on {status.interface}; log: {log}")


def _flags(place: Place, given: dict[str, Any]) -> Flags:
    return Flags(
        server=given["server"],
        interface=None if place.named is None else InterfaceName(place.named),
        listen_port=given["listen_port"],
        exit_node=given["exit_node"],
        use_exit_node=given["use_exit_node"],
        hostname=given["hostname"],
        keepalive=given["keepalive"],
        mtu=given["mtu"],
        backend=given["backend"],
        port_mapping=given["port_mapping"] == "on",
        intervals=Intervals(heartbeat=given["heartbeat_interval"], sync=given["sync_interval"]),
    )


def _alone(place: Place) -> AbstractContextManager[None]:
    """Nothing is changed while another agent runs."""
    return alone(place.directory, place.interface(place.identity()), place.folder)


def _settle(place: Place, flags: Flags, given: dict[str, Any]) -> ClientState:
    consent = Consent(
        another_server=given["force"],
        new_identity=given["new_identity"],
        new_server_key=given["trust_new_server_key"],
    )
    ask_user = click.confirm if sys.stdin.isatty() and sys.stderr.isatty() else None
    question = None if ask_user is None else (lambda text: click.confirm(text, err=True))
    return settle(place.folder, flags, consent, launch.surroundings(question))


def _command(place: Place, interface: InterfaceName, given: dict[str, Any]) -> list[str]:
    """The command line of the agent in the background: what the identity on disk does not hold. No secret is in it."""
    program = [sys.executable, str(Path(sys.argv[0]).absolute())]
    options: dict[str, Any] = {
        "config": place.folder.path,
        "interface": interface,
        "keepalive": given["keepalive"],
        "mtu": given["mtu"],
        "backend": given["backend"],
        "port-mapping": given["port_mapping"],
        "heartbeat-interval": f"{given['heartbeat_interval']}s",
        "sync-interval": f"{given['sync_interval']}s",
        "log-level": given["log_level"],
    }
    return program + [text for name, value in options.items() if value is not None for text in (f"-{name}", str(value))]


def _prepare_log(path: Path) -> int:
    """Make the log file, for its owner only; start it anew if it is long. Returns its length in bytes."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _LOG_MODE))
        length = path.stat().st_size
        if length > MAX_LOG:
            path.replace(path.with_suffix(".log.old"))
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _LOG_MODE))
            length = 0
    except OSError as error:
        raise Unavailable(f"{path} cannot be written ({error.strerror})") from None
    return length


def _await_mesh(socket: Path, process: subprocess.Popen[bytes], log: Path, offset: int, seconds: float) -> Status:
    deadline = time.monotonic() + seconds
    status: Status | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise MeshError(_last_words(log, offset) or f"the agent ended with code {process.returncode}")
        try:
            status = ask(socket, local.StatusRequest(), Status)
        except MeshError:
            pass  # it is not there yet, or ends: its process tells
        else:
            if status.state is State.UP:
                return status
        time.sleep(_POLL)
    problems = [status.server.problem, *status.problems] if status else []
    why = "; ".join(problem for problem in problems if problem) or "it did not say why"
    raise Unavailable(f"the mesh is not up after {seconds:g} s ({why})", f"the agent goes on trying; see {log}")


def _last_words(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read(MAX_LOG).decode("utf-8", "replace").splitlines()
    prefix = "vpn-client: "
    return next((line.removeprefix(prefix) for line in reversed(lines) if line.startswith(prefix)), "")

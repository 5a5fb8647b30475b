"""`vpn-client bugreport`: what somebody needs to know who is to help; what is private is masked."""

from __future__ import annotations

import platform
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import click

from wireguard_mesh import __version__
from wireguard_mesh.cli.diagnosing import current_netcheck, explanation
from wireguard_mesh.cli.diagnosis_output import explanation_lines, netcheck_lines
from wireguard_mesh.cli.output import status_lines
from wireguard_mesh.cli.place import Place
from wireguard_mesh.cli.showing import current_status
from wireguard_mesh.core.masking import SALT_LENGTH, Masker, without_secrets
from wireguard_mesh.model.errors import InvalidValue, MeshError
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.status import Status

MAX_EXPLAINED: Final = 20  # peers
LOG_LINES: Final = 100
_LOG_BYTES: Final = 64 * 1024  # read from the end of a log, which has the last lines
_JOURNAL_TIMEOUT: Final = 5.0  # seconds
_JOURNAL: Final = ("-u", "vpn-client", "-n", str(LOG_LINES), "--no-pager", "--quiet", "-o", "short-iso")
_NO_LOG: Final = "none that this user may read; an agent in the foreground logs to its terminal"
_PROGRAMS: Final = ("wireguard-go", "wg", "nft", "ping")

Lines = Callable[[], Iterator[str]]


def print_report(place: Place, *, unmasked: bool) -> None:
    """Print it, a section after the other; one that cannot be had says why."""
    try:
        status = current_status(place)
    except MeshError as error:
        status, problem = None, str(error)
    else:
        problem = ""
    text = "\n".join(_report(place, status, problem))
    click.echo(_unmasked(text, status) if unmasked else _masked(text, status))


def _masked(text: str, status: Status | None) -> str:
    names = [platform.node(), *(_names(status) if status else ())]
    return Masker(secrets.token_bytes(SALT_LENGTH), names).mask(text)


def _unmasked(text: str, status: Status | None) -> str:
    """Private keys do not belong even there: a key stays only if it is known to be public."""
    keys = [status.public_key, *(peer.public_key for peer in status.peers)] if status else []
    return without_secrets(text, [key.to_base64() for key in keys] or [""])


def _names(status: Status) -> Iterator[str]:
    yield status.hostname
    yield from (peer.hostname for peer in status.peers)
    try:
        yield ServerAddress.parse(status.server.address).host
    except InvalidValue:
        return  # there is none yet


def _report(place: Place, status: Status | None, problem: str) -> Iterator[str]:
    yield f"vpn-client {__version__}, Python {platform.python_version()}"
    yield f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "programs: " + ", ".join(f"{name} {'yes' if shutil.which(name) else 'no'}" for name in _PROGRAMS)
    yield f"at {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if status is None:
        yield from _section("status", lambda: iter([f"none: {problem}"]))
    else:
        yield from _section("status", lambda: iter(_status(status)))
    yield from _section("netcheck", lambda: iter(netcheck_lines(current_netcheck(place))))
    if status is not None:
        yield from _section("paths", lambda: _paths(place, status))
    yield from _section("log", lambda: _log(place))


def _section(title: str, lines: Lines) -> Iterator[str]:
    yield ""
    yield f"== {title}"
    try:
        yield from lines()
    except MeshError as error:
        yield f"not to be had: {error}"


def _status(status: Status) -> list[str]:
    return [*status_lines(status, time.time()), "", f"agent {status.agent_version or 'none'}"]


def _paths(place: Place, status: Status) -> Iterator[str]:
    """Why each peer that is online is not reached directly."""
    wanted = [peer for peer in status.peers if peer.online and peer.path.kind is not PathKind.DIRECT]
    if not wanted:
        yield "every peer that is online is reached directly"
    for peer in wanted[:MAX_EXPLAINED]:
        yield f"-- {peer.hostname} ({peer.id})"
        yield from explanation_lines(explanation(place, peer.id))
    if len(wanted) > MAX_EXPLAINED:
        yield f"and {len(wanted) - MAX_EXPLAINED} more peers that are not reached directly"


def _log(place: Place) -> Iterator[str]:
    """The last lines of the log, where this user may read it."""
    path = place.folder.log_path
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            lines = file.read(_LOG_BYTES).decode(errors="replace").splitlines()
    except OSError:
        lines = _journal()
    yield from lines[-LOG_LINES:] or [_NO_LOG]


def _journal() -> list[str]:
    """What the service logged, if it is one."""
    program = shutil.which("journalctl")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, *_JOURNAL],
            capture_output=True,
            timeout=_JOURNAL_TIMEOUT,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()

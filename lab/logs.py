"""What is kept of a lab that failed."""

import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.host import Host
from lab.machine import ROOT

_STATE: tuple[tuple[str, ...], ...] = (
    ("ip", "-brief", "address"),
    ("ip", "rule"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("nft", "list", "ruleset"),
    ("wg", "show"),
    ("ss", "-anp"),
)
_STATE_TIMEOUT = 5.0  # seconds for each command


def folder() -> Path:
    """Where logs are kept: `LAB_LOGS`, or build/lab-logs in the repository."""
    return Path(os.environ.get("LAB_LOGS") or ROOT / "build/lab-logs")


def keep(name: str, logs: Path, hosts: Iterable[Host]) -> Path:
    """Copy the folder of logs, with what each host's network looked like at the end beside them."""
    when = time.strftime("%Y%m%d-%H%M%S")
    kept = folder() / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-{when}-{os.getpid()}"
    shutil.copytree(logs, kept, dirs_exist_ok=True)
    for host in hosts:
        kept.joinpath(host.name).mkdir(exist_ok=True)
        kept.joinpath(host.name, "state").write_text("\n".join(_state(host)))
    return kept


def _state(host: Host) -> Iterable[str]:
    for pid, arguments in sorted(host.processes().items()):
        yield f"process {pid} {' '.join(arguments)}"
    for command in _STATE:
        yield f"\n$ {' '.join(command)}"
        try:
            done = host.run(*command, check=False, timeout=_STATE_TIMEOUT)
            yield done.stdout + done.stderr
        except LabError as error:  # the host is in trouble; what can be said of it is still worth keeping
            yield str(error)

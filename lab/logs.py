"""What is kept of a lab that failed."""

import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from lab.host import Host
from lab.machine import ROOT
from lab.state import network_state, said

_MORE: tuple[tuple[str, ...], ...] = (("wg", "show"), ("ss", "-anp"))


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
    for title, text in network_state(host).items():
        yield f"\n$ {title}\n{text}"
    for command in _MORE:
        yield f"\n$ {' '.join(command)}\n{said(host, *command)}"

"""A relay process in a lab host, on the first core, with peers registered that have names."""

import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from bench.datagrams import Address
from bench.relay_host import vantage_keys
from bench.relay_load import RELAY_CPU
from bench.wireguard_peers import key_of
from lab import Host
from lab.machine import ROOT
from wireguard_mesh.model.keys import PublicKey

PORT: Final = 8080
START_TIMEOUT: Final = 30.0
OPEN_FILES: Final = 1 << 16  # more than any measurement has sockets


class Vantage(msgspec.Struct, frozen=True):
    """Where a vantage point is, and its key."""

    address: Address
    key: PublicKey


class RelayProcess:
    """Our relay, with its parent: `bench.relay_host`. It ends with the lab."""

    def __init__(self, host: Host, names: Iterable[str]) -> None:
        roster = host.home / "roster"
        roster.write_text("\n".join(key_of(name).public_key.to_base64() for name in names))
        place = f"{host.ipv4} {PORT} {host.home}"
        command = f"exec taskset -c {RELAY_CPU} {sys.executable} -m bench.relay_host {place} - <{roster}"
        self.parent = host.start("sh", "-c", command, env={"PYTHONPATH": str(ROOT)})
        inside = int(self.parent.wait_for(r"^relaying pid=(\d+)", START_TIMEOUT)[1])
        self.pid = next(pid for pid in host.processes() if _inner_pid(pid) == inside)
        self.vantages = tuple(
            Vantage((str(host.ipv4), PORT + number), key.public_key) for number, key in enumerate(vantage_keys())
        )

    @property
    def starts(self) -> int:
        """How many times a relay process was started until now: once, if it never died."""
        return self.parent.output().count("relaying pid=")

    @property
    def reports(self) -> int:
        """How many times it has said what it counted."""
        return self.parent.output().count("\nstats ")

    @property
    def counts(self) -> dict[str, float]:
        """What it counted last."""
        last = [line for line in self.parent.output().splitlines() if line.startswith("stats ")][-1]
        return {name: float(value) for name, _, value in (word.partition("=") for word in last.split()[1:])}


def allow_open_files() -> None:
    """This process may have as many sockets as a measurement needs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))


def _inner_pid(pid: int) -> int:
    """The process id that a process of a lab host has in there (proc(5), NSpid)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0  # it has ended since it was listed
    return next(int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:"))

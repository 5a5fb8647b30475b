"""Hosts: machines with a home folder, programs and links."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from lab.errors import LabError
from lab.machine import ROOT, Machine
from lab.network import Link, Route, Switch
from lab.process import Process, failed_run, words

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a test run may want to hand down to the programs that it starts.
_INHERITED = ("COVERAGE_PROCESS_START", "PYTHONDONTWRITEBYTECODE")


class Host:
    """A machine of the lab, made by `Lab.host`. It lives as long as the lab."""

    def __init__(self, machine: Machine, folder: Path, logs: Path) -> None:
        self.name = machine.name
        self.machine = machine
        self.links: list[Link] = []
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self._logs = logs
        self._processes: list[Process] = []
        self._count = 0
        logs.mkdir(parents=True)

    def __repr__(self) -> str:
        return f"<Host {self.name} {' '.join(str(address) for link in self.links for address in link.addresses)}>"

    # Addresses

    @property
    def link(self) -> Link:
        """Its first link."""
        if not self.links:
            raise LabError(f"host {self.name} has no link")
        return self.links[0]

    @property
    def ipv4(self) -> IPv4Address:
        """The IPv4 address of its first link."""
        return self.link.ipv4

    @property
    def ipv6(self) -> IPv6Address:
        """The IPv6 address of its first link."""
        return self.link.ipv6

    def move(self, switch: Switch) -> None:
        """Unplug the first link and plug it into another switch: new addresses, new routes."""
        self.link.move(switch)

    def route(self, prefix: str, via: IPv4Address | IPv6Address) -> None:
        """Set a static route; `prefix` may be `default`."""
        self.machine.ip(Route(prefix, via).command)

    # Files

    def path(self, name: str | Path) -> Path:
        """The path at which this process finds a file of the host: `~/…`, or any absolute path."""
        text = str(name)
        if text == "~" or text.startswith("~/"):
            return self.home / text[2:]
        if not text.startswith("/"):
            raise LabError(f"{text!r} must start with ~/ or /")
        return self.machine.root / text[1:]

    # Programs

    @property
    def environment(self) -> dict[str, str]:
        """What every program of this host gets; nothing else comes from outside."""
        programs = [str(ROOT / ".venv/bin"), str(Path(sys.executable).parent)]
        return {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "LOGNAME": "root",
            "PATH": ":".join([*dict.fromkeys(programs), _SYSTEM_PATH]),
            "PYTHONUNBUFFERED": "1",
            "TERM": "dumb",
            "USER": "root",
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        }

    def start(self, *arguments: object, env: Mapping[str, str] | None = None) -> Process:
        """Start a program and return at once. It ends with the lab at the latest."""
        command = words(arguments)
        log = self._log(command)
        with log.open("wb") as output:
            popen = self.machine.spawn(
                command,
                environment={**self.environment, **(env or {})},
                folder=self.home,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process = Process(self.name, command, popen, log)
        self._processes.append(process)
        return process

    def run(
        self,
        *arguments: object,
        check: bool = True,
        timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        text: str = "",
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end, with `text` as its input.

        Raises `LabError` with its output when it fails (unless `check` is False) or takes over `timeout`
        seconds. Daemons that it leaves behind are not waited for.
        """
        command = words(arguments)
        title = f"{self.name}: {shlex.join(command)}"
        log = self._log(command)
        errors = log.with_suffix(".err")
        given = log.with_suffix(".in")
        given.write_text(text)
        with given.open("rb") as stdin, log.open("wb") as stdout, errors.open("wb") as stderr:
            popen = self.machine.spawn(
                command,
                environment={**self.environment, **(env or {})},
                folder=self.home,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
        try:
            code = popen.wait(timeout)
        except BaseException as error:
            popen.kill()
            popen.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            said = log.read_text(errors="replace") + errors.read_text(errors="replace")
            raise LabError(f"{title} took longer than {timeout:g} s\n{said}".rstrip()) from None
        done = subprocess.CompletedProcess(
            command, code, log.read_text(errors="replace"), errors.read_text(errors="replace")
        )
        if check and code != 0:
            raise failed_run(title, done)
        return done

    def processes(self, name: str = "") -> dict[int, list[str]]:
        """PID (as seen from outside) and command line of what runs in this host, detached daemons too.

        With `name`, only programs of that name.
        """
        return {
            pid: command
            for pid, command in self.machine.processes().items()
            if not name or (command and Path(command[0]).name == name)
        }

    def kill(self, name: str) -> int:
        """Send SIGKILL to every program of that name in this host, and return how many there were."""
        found = self.processes(name)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    # Kernel

    def nft(self, rules: str) -> None:
        """Load nftables rules from text, all or none."""
        self.machine.tool(["nft", "-f", "-"], rules)

    def sysctl(self, settings: Mapping[str, object]) -> None:
        """Write settings of the host's network: names below `net.`, as in `ipv4.ip_forward`."""
        self.machine.sysctl(settings)

    def close(self) -> None:
        """After the keeper has killed everything: reap what was started here."""
        for process in self._processes:
            process.reap()
        self.machine.close()

    def _log(self, command: list[str]) -> Path:
        self._count += 1
        with (self._logs / "commands").open("a") as index:
            index.write(f"{self._count:03} {shlex.join(command)}\n")
        return self._logs / f"{self._count:03}-{Path(command[0]).name}.log"

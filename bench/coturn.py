"""Debian's coturn, to measure against. It is unpacked beside the build, not installed: no service, no user, no upgrade
of a library of the system."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

from lab import Host, Process
from lab.machine import ROOT

FOLDER = ROOT / "build" / "coturn"
PROGRAM = "turnserver"
PORT = 3478  # RFC 8656, section 18
LIFETIME = 3600  # seconds: nothing of a measurement expires
DOWNLOAD_TIMEOUT = 120.0
_LIBRARY = re.compile(r"^ *\|?Depends: (lib[^ ]+)$", re.MULTILINE)
_ALWAYS_THERE = {"libc6", "libssl3", "libsystemd0"}


class NoCoturn(Exception):
    """It is not there and cannot be got; the words say what to do."""


class Coturn(msgspec.Struct, frozen=True):
    """Where the program is, and what it needs in its environment."""

    program: Path
    environment: Mapping[str, str]

    def start(self, host: Host, address: IPv4Address, cpu: int) -> Process:
        """Serve as a TURN server on an address of the host, on one core; it listens a moment later."""
        return host.start("taskset", "-c", cpu, self.program, *_options(address, host.home), env=self.environment)


def _options(address: IPv4Address, folder: Path) -> tuple[str, ...]:
    """Nothing that costs it time: no authentication, no TLS, no log of sessions, no limits; one thread for one core."""
    return (
        "-n",
        f"--listening-ip={address}",
        f"--relay-ip={address}",
        f"--listening-port={PORT}",
        "--min-port=10000",
        "--max-port=60000",
        "--relay-threads=1",
        "--no-auth",
        "--no-tls",
        "--no-dtls",
        "--no-tcp",
        "--no-cli",
        "--no-rfc5780",
        "--log-file=stdout",
        f"--pidfile={folder}/turnserver.pid",
        f"--userdb={folder}/turndb",
        f"--max-allocate-lifetime={LIFETIME}",
        f"--channel-lifetime={LIFETIME}",
        f"--permission-lifetime={LIFETIME}",
    )


def coturn() -> Coturn:
    """The machine's own, or that of Debian's package. Raises `NoCoturn`."""
    installed = shutil.which(PROGRAM)
    if installed:
        return Coturn(Path(installed), {})
    unpacked = FOLDER / "usr/bin" / PROGRAM
    if not unpacked.exists():
        _unpack()
    libraries = ":".join(sorted({str(path.parent) for path in FOLDER.glob("usr/lib/**/*.so.*")}))
    return Coturn(unpacked, {"LD_LIBRARY_PATH": libraries})


def _unpack() -> None:
    """Its package and the libraries that this names, of the machine's own package sources."""
    if shutil.which("apt-get") is None:
        raise NoCoturn("this measurement compares with coturn: install it, without starting its service, and try again")
    unfinished = FOLDER.with_name("coturn.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    packages = unfinished / "packages"
    packages.mkdir(parents=True)
    libraries = set(_LIBRARY.findall(_run("apt-cache", "depends", "coturn"))) - _ALWAYS_THERE
    _run("apt-get", "download", "coturn", *sorted(libraries), folder=packages)
    for package in sorted(packages.glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(unfinished))
    shutil.rmtree(packages)
    unfinished.rename(FOLDER)


def _run(*command: str, folder: Path = ROOT) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DOWNLOAD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoCoturn(f"{' '.join(command)} did not end; see whether the package sources answer") from None
    if done.returncode != 0:
        said = done.stderr.strip().rpartition("\n")[2]
        raise NoCoturn(f"coturn cannot be got ({said}); run apt-get update as root, or install the package coturn")
    return done.stdout

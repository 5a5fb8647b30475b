"""A small mesh of real processes for measurements: one server, some clients, on one LAN."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lab import Host, Lab, Process, Switch

JOINED = r"10\.100\.\d+\.\d+"
CLOCK_TICKS = 100  # USER_HZ of Linux, the unit of the times in /proc/PID/stat


@dataclass(slots=True)
class Mesh:
    """A server that runs, on a LAN that clients can be put on."""

    lab: Lab
    lan: Switch
    server_host: Host
    server: Process

    @property
    def url(self) -> str:
        return f"http://{self.server_host.ipv4}:8080"

    def restart_server(self) -> None:
        """Start the server anew, after it was killed, and wait until it listens."""
        self.server = start_server(self.server_host)

    def join(self, name: str, *arguments: str) -> tuple[Host, Process]:
        """A new host with an agent, when its mesh is up."""
        host = self.lab.host(name, self.lan)
        return host, self.start_agent(host, *arguments)

    def start_agent(self, host: Host, *arguments: str) -> Process:
        """The agent of a host, when its mesh is up."""
        agent = host.start("vpn-client", "-server", self.url, *arguments)
        agent.wait_for(JOINED)
        return agent


def start_server(host: Host, *arguments: str) -> Process:
    """A server on a host, when it listens."""
    server = host.start("vpn-server", *arguments)
    server.wait_for(r"vpn-client -server http")
    return server


@contextmanager
def mesh(name: str) -> Iterator[Mesh]:
    """A LAN with a running server."""
    with Lab(name) as lab:
        lan = lab.switch("lan", "192.0.2.0/24", "2001:db8:1::/64")
        host = lab.host("server", lan)
        yield Mesh(lab, lan, host, start_server(host))


class Usage(msgspec.Struct, frozen=True):
    """What a process has used until now: resident memory in MB, processor time in seconds."""

    rss: float
    cpu: float


def usage(pid: int) -> Usage:
    """Read from /proc, proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    # The second field is the program's name in brackets, and may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(kilobytes / 1024, (int(fields[11]) + int(fields[12])) / CLOCK_TICKS)

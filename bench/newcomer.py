"""50 agents, and one more joins: how long until all 50 have it as a WireGuard peer. Ten times; it leaves in between.

The agents' own debug logs say when each had told its WireGuard: to look at fifty interfaces meanwhile would take the
cores from those who are measured. Afterwards every interface is asked whether it is true.
"""

import re
import statistics
import time
from collections.abc import Sequence
from typing import Final

from bench.report import Figure, median
from lab import Host, Lab, LabError
from lab.mesh import INTERFACE, JOIN_TIMEOUT, Client, Mesh
from lab.process import Process

AGENTS: Final = 50
AT_ONCE: Final = 5  # agents that start together
ROUNDS: Final = 10
SETTLE_SECONDS: Final = 3.0  # until what a change set off is over
DEADLINE_SECONDS: Final = 30.0
DETAILED: Final = ("-log-level", "debug")
_POLL_SECONDS: Final = 0.2  # rare, since it reads fifty files
_STAGE: Final = re.compile(r"^(\d+\.\d+) .*stage=(\S+)", re.MULTILINE)
_TOLD: Final = ("news", "applied")  # the agent's words for: WireGuard has it


def measure() -> list[Figure]:
    """All rounds, in one mesh."""
    with Lab("bench-newcomer") as lab:
        mesh = Mesh(lab)
        _start_agents(mesh)
        newcomer = lab.host("newcomer", mesh.lan)
        rounds = [_round(mesh, newcomer) for _ in range(ROUNDS)]
    return [
        *_figures("from its process's start", [one.since_start for one in rounds]),
        *_figures("from its Python's imports", [one.since_python for one in rounds], aim="<= 250"),
        *_figures("from the answer to its registration", [one.since_answer for one in rounds]),
    ]


class _Round:
    """When each of the agents had it, in seconds after three events of the newcomer's."""

    def __init__(self, start: float, newcomer: Process, told: Sequence[float]) -> None:
        moments = _stages(newcomer, start)
        self.since_start = [moment - start for moment in told]
        self.since_python = [moment - moments["started"] for moment in told]
        self.since_answer = [moment - moments["map"] for moment in told]


def _figures(since: str, rounds: Sequence[Sequence[float]], aim: str = "") -> list[Figure]:
    every = sorted(1000 * delay for delays in rounds for delay in delays)
    p99 = every[-(-99 * len(every) // 100) - 1]
    note = f"of {len(every)}; p50 {statistics.median(every):.0f}, longest {every[-1]:.0f}"
    return [
        Figure(name=f"newcomer: p99 of an agent, {since}", value=p99, unit="ms", aim=aim, note=note),
        median(f"newcomer: all {AGENTS} have it, {since}", [1000 * max(delays) for delays in rounds], "ms"),
    ]


def _start_agents(mesh: Mesh) -> None:
    for first in range(0, AGENTS, AT_ONCE):
        hosts = [mesh.lab.host(f"agent{first + number}", mesh.lan) for number in range(AT_ONCE)]
        clients = [Client(host, mesh.server, *DETAILED) for host in hosts]
        for client in clients:
            client.addresses()
        mesh.clients += clients
    _await_peers(mesh, AGENTS - 1)


def _round(mesh: Mesh, host: Host) -> _Round:
    time.sleep(SETTLE_SECONDS)
    start = time.time()
    newcomer = host.start("vpn-client", "-server", mesh.server.url, *DETAILED)
    newcomer.wait_for("the mesh is up", JOIN_TIMEOUT)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while None in (told := [_told(client.process, start) for client in mesh.clients]):
        if time.monotonic() > deadline:
            raise LabError(f"{told.count(None)} agents have not heard of the newcomer in {DEADLINE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    key = host.run("wg", "show", INTERFACE, "public-key").stdout.strip()
    for client in mesh.clients:
        if key not in _peers(client.host):
            raise LabError(f"{client.name} says that its WireGuard has the newcomer, and it has not")
    done = _Round(start, newcomer, [moment for moment in told if moment is not None])
    host.run("vpn-client", "logout")
    newcomer.wait(JOIN_TIMEOUT)
    _await_peers(mesh, AGENTS - 1)
    return done


def _told(agent: Process, start: float) -> float | None:
    """When the agent first told its WireGuard something after `start`; None if it has not."""
    moments = _stages(agent, start)
    return min((moments[stage] for stage in _TOLD if stage in moments), default=None)


def _stages(process: Process, start: float) -> dict[str, float]:
    """When each stage was first reached after `start`, in Unix seconds."""
    first: dict[str, float] = {}
    for found in _STAGE.finditer(process.output()):
        if float(found[1]) >= start:
            first.setdefault(found[2], float(found[1]))
    return first


def _await_peers(mesh: Mesh, number: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    for client in mesh.clients:
        while len(found := _peers(client.host)) != number:
            if time.monotonic() > deadline:
                raise LabError(f"{client.name} has {len(found)} WireGuard peers, not {number}")
            time.sleep(_POLL_SECONDS)


def _peers(host: Host) -> list[str]:
    return host.run("wg", "show", INTERFACE, "peers").stdout.split()

"""What an agent uses when nothing happens: resident memory, and processor time over a minute.

Four other agents make up the small mesh. For the large one, a thousand keys are registered that belong to no machine:
the agent and its WireGuard hold them all, and try to reach them.
"""

import sys
import time

from bench.report import Figure
from bench.usage import usage
from lab import Host, Lab, Process
from lab.machine import ROOT
from lab.mesh import Mesh

SETTLE_SECONDS = 20
IDLE_SECONDS = 60
FAKE_PEERS = 1000
SMALL_MESH = 5
FAKE_NETWORK = "198.51.100.0/24"


def measure() -> list[Figure]:
    """The agent of one host, in a mesh of 5 and then of 1,005."""
    with Lab("bench-resources") as lab:
        network = Mesh(lab)
        clients = network.join(*(f"client{number}" for number in range(SMALL_MESH)))
        for client in clients:
            client.host.route(FAKE_NETWORK, via=network.server.host.ipv4)  # which forwards nothing
        host, agent = clients[0].host, clients[0].process
        figures = _idle(agent, f"{SMALL_MESH} peers")
        _register_fakes(network.server.host)
        _wait_for_peers(host, FAKE_PEERS)
        return figures + _idle(agent, f"{FAKE_PEERS} peers")


def _idle(agent: Process, mesh_size: str) -> list[Figure]:
    time.sleep(SETTLE_SECONDS)
    before, start = usage(agent.pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    after, seconds = usage(agent.pid), time.monotonic() - start
    share = 100 * (after.cpu - before.cpu) / seconds
    return [
        Figure(name=f"agent: resident memory, {mesh_size}", value=after.rss, unit="MB", aim="< 45"),
        Figure(name=f"agent: processor, idle, {mesh_size}", value=share, unit="% of a core", aim="< 0.5"),
    ]


def _register_fakes(server: Host) -> None:
    server.run(sys.executable, "-m", "bench.fake_peers", FAKE_PEERS, env={"PYTHONPATH": str(ROOT)}, timeout=120)


def _wait_for_peers(host: Host, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(host.run("wg", "show", "wg0", "peers").stdout.split()) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the agent did not take up {number} peers in a minute")
        time.sleep(0.5)

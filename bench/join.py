"""How long a machine takes to join: from its process's start, with nothing on its disk, to its first answered ping.

The clock starts before `vpn-client` is executed, and stops when an ICMP echo of a peer that was there before comes back
through the tunnel. The pinger runs already, and sends an echo each 5 ms, as an impatient user would.
"""

import re
import sys
import time
from pathlib import Path

from bench.report import Figure, median
from lab import Host, Lab
from lab.mesh import Mesh

ROUNDS = 10
PINGER = Path(__file__).with_name("pinger.py")
EXISTING = "10.100.0.1"


def measure() -> list[Figure]:
    """Ten machines join one after the other."""
    totals: list[float] = []
    stages: dict[str, list[float]] = {}
    with Lab("bench-join") as lab:
        network = Mesh(lab)
        network.join("existing")
        for number in range(ROUNDS):
            total, parts = _join(network.server.url, lab.host(f"new{number}", network.lan))
            totals.append(total)
            for name, seconds in parts.items():
                stages.setdefault(name, []).append(seconds)
        python = [_start_of_python(network.server.host) for _ in range(ROUNDS)]
    return [
        median("join", totals, "s", aim="< 1.0"),
        median("join: of that, bare start of Python", python, "s"),
        *(median(f"join: until {name}", values, "s") for name, values in stages.items()),
    ]


def _join(url: str, host: Host) -> tuple[float, dict[str, float]]:
    pinger = host.start(sys.executable, PINGER, EXISTING)
    pinger.wait_for("ready")
    start = time.time()
    agent = host.start("vpn-client", "-server", url, "-log-level", "debug")
    answered = float(pinger.wait_for(r"answered at (\S+)", timeout=30)[1])
    pinger.terminate()
    stages = {
        found[2]: float(found[1]) - start
        for found in re.finditer(r"^(\d+\.\d+) .*stage=(\S+)", agent.output(), re.MULTILINE)
    }
    return answered - start, stages


def _start_of_python(host: Host) -> float:
    start = time.time()
    host.run(sys.executable, "-c", "pass")
    return time.time() - start

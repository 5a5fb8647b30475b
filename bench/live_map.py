"""The live map with 100, 1,000, 3,000 and 10,000 clients: what it costs, how fast it is, and that nothing is lost.

Other sizes by the environment: `BENCH_SIZES=100,1000 python -m bench live_map`. For a look it is shortened by
`BENCH_IDLE` and `BENCH_CHURN` (seconds) and `BENCH_RATE` (changes a second).
"""

import os
import subprocess
import sys

import msgspec

from bench.report import Figure
from lab.machine import ROOT

SIZES = "100,1000,3000,10000"
TIMEOUT = 600.0  # seconds for one size
_figure = msgspec.json.Decoder(Figure)


def measure() -> list[Figure]:
    """All sizes, one after the other."""
    return [figure for size in os.environ.get("BENCH_SIZES", SIZES).split(",") for figure in _measure(int(size))]


def _measure(size: int) -> list[Figure]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.live_map_size", str(size)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=TIMEOUT,
        check=True,
    )
    return [_figure.decode(line) for line in done.stdout.splitlines()]

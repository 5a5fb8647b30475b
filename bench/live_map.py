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
TIMEOUT = 600.0  # seconds for one size, which ends by itself before
_figure = msgspec.json.Decoder(Figure)


def measure() -> list[Figure]:
    """All sizes, one after the other."""
    return [figure for size in os.environ.get("BENCH_SIZES", SIZES).split(",") for figure in _measure(int(size))]


def _measure(size: int) -> list[Figure]:
    """One size. What a run that failed has measured until then is kept, and that it failed is a figure too."""
    command = [sys.executable, "-m", "bench.live_map_size", str(size)]
    failure = ""
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=TIMEOUT, check=True)
        said = done.stdout
    except subprocess.CalledProcessError as error:
        said, failure = error.stdout, f"it ended with {error.returncode}, and said above why"
    except subprocess.TimeoutExpired as error:
        said, failure = error.stdout or b"", f"it took longer than {TIMEOUT:.0f} s"
    broke_off = f"{size:,}: measurement that broke off"
    ended = Figure(name=broke_off, value=1 if failure else 0, unit="", aim="0", note=failure)
    return [*(_figure.decode(line) for line in said.splitlines()), ended]

"""Fuzzing: each parser for some seconds, then a real relay process under fire while a pair of peers talks through it.

`BENCH_FUZZ_SECONDS` is the time for each target and each kind of fire. Inputs are the same for the same
`BENCH_FUZZ_SEED`, which the figures name.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable
from itertools import islice

from bench.fire import SOURCES, Battlefield, kinds
from bench.relay_load import percentile
from bench.report import Figure
from bench.usage import usage
from lab import Lab
from tests.fuzz.inputs import inputs
from tests.fuzz.targets import SAMPLES, TARGETS

SECONDS = float(os.environ.get("BENCH_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("BENCH_FUZZ_SEED", "1"))
_AT_ONCE = 100  # inputs between two looks at the clock
_SHOWN = 3  # findings that are printed whole


def measure() -> list[Figure]:
    """Findings are printed, and counted in the figures."""
    return _targets() + _relay()


def _targets() -> list[Figure]:
    total, findings, start = 0, 0, time.monotonic()
    for name, target in TARGETS.items():
        tried, found = _run(name, target)
        total += tried
        findings += found
    minutes = (time.monotonic() - start) / 60
    note = f"{len(TARGETS)} parsers, {minutes:.1f} minutes, seed {SEED}"
    return [
        Figure(name="fuzz: inputs to parsers", value=total, unit="", note=note),
        Figure(name="fuzz: findings in parsers", value=findings, unit="", aim="0"),
    ]


def _run(name: str, target: Callable[[bytes], None]) -> tuple[int, int]:
    end, tried, findings = time.monotonic() + SECONDS, 0, 0
    source = inputs(SAMPLES[name], SEED)
    while time.monotonic() < end:
        for data in islice(source, _AT_ONCE):
            tried += 1
            try:
                target(data)
            except Exception:
                findings += 1
                if findings <= _SHOWN:
                    print(f"fuzz: {name} on {data.hex()}\n{traceback.format_exc()}", file=sys.stderr)
    return tried, findings


def _relay() -> list[Figure]:
    with Lab("bench-fuzz") as lab:
        field = Battlefield(lab, SEED)
        calm = field.talk(SECONDS)
        memory = usage(field.relay.pid).rss
        figures: list[Figure] = []
        sent, start = 0, time.monotonic()
        for name, kind in kinds(field).items():
            fire = field.under_fire(kind, SECONDS)
            times = fire.trips or [SECONDS]
            sent += fire.sent
            figures.append(
                Figure(
                    name=f"fuzz: round trip of a pair under {name}, p50",
                    value=percentile(times, 50) * 1e6,
                    unit="µs",
                    note=f"p99 {percentile(times, 99) * 1e6:.0f} µs, {fire.lost} of {fire.lost + len(times)} lost; "
                    f"calm {percentile(calm, 50) * 1e6:.0f} and {percentile(calm, 99) * 1e6:.0f} µs; "
                    f"{fire.sent / SECONDS:,.0f} datagrams/s; new sessions {fire.recovery:.2f} s after it",
                )
            )
        minutes = (time.monotonic() - start) / 60
        newcomers = sorted(field.newcomers(kinds(field)["handshakes of strangers"]))
        cookies, others = field.answers()
        return [
            Figure(name="fuzz: datagrams to a relay", value=sent, unit="", note=f"{minutes:.1f} minutes, seed {SEED}"),
            Figure(name="fuzz: relay processes that died", value=field.relay.starts - 1, unit="", aim="0"),
            Figure(
                name="fuzz: bytes sent to who proved nothing",
                value=others[1],
                unit="",
                aim="0",
                note=f"{SOURCES:,} sources; besides {cookies[0]:,} cookie replies, 64 bytes for a handshake of 148",
            ),
            Figure(
                name="fuzz: memory of the relay, growth",
                value=usage(field.relay.pid).rss - memory,
                unit="MB",
                note=f"from {memory:.0f} MB",
            ),
            Figure(
                name="fuzz: newcomers' time until a session under handshakes of strangers, median",
                value=percentile(newcomers, 50),
                unit="s",
                note=f"worst {newcomers[-1]:.1f} s, of {len(newcomers)} that call each 5 s",
            ),
            *figures,
        ]

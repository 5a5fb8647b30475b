"""The matrix of paths: every kind of place with every other; what each pair ends up with, and how fast.

In each cell one machine is in the mesh, and another joins. From the start of its process it is measured until a ping of
its is answered, and until both ends say that their path is direct, where it must become so. What must come out is
derived in `bench.path_theory`.

`BENCH_PATHS_RUNS` is how often (3), `BENCH_PATHS_KINDS` which kinds of places, separated by commas (all).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from typing import Final

from bench.join import PINGER
from bench.path_theory import ACCESS, Expected, expected, expected_behind_one
from bench.report import Figure, median
from lab import Host, Lab, LabError
from lab.mesh import Client, unanswered
from lab.places import Place, Places
from lab.wide_mesh import WideMesh, path, status
from wireguard_mesh.model.paths import PathKind

RUNS: Final = int(os.environ.get("BENCH_PATHS_RUNS", "3"))
KINDS: Final = tuple(os.environ.get("BENCH_PATHS_KINDS", ",".join(ACCESS)).split(","))
READY_SECONDS: Final = 10.0  # until the first machine reaches its relay
PING_SECONDS: Final = 30.0
DIRECT_SECONDS: Final = 10.0  # until a pair that can be direct must be
RELAY_SECONDS: Final = 4.0  # for so long a pair that cannot be direct is watched
_LOOK_SECONDS: Final = 0.05
_SECOND_PORT: Final = ("-listen-port", 51821)  # of another machine behind a NAT that turns back by ports
_FIRST_ADDRESS: Final = "10.100.0.1"


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of places, made by `places`, and what must come out."""

    name: str
    places: Callable[[Places], tuple[Place, Place]]
    expected: Expected


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a cell: seconds from the start of the newcomer's process; `fault` says what went wrong."""

    kind: str
    first_ping: float | None = None
    direct: float | None = None
    fault: str = ""


def measure() -> list[Figure]:
    """All cells, as often as asked for."""
    outcomes: dict[str, list[Outcome]] = {}
    every = list(cells(KINDS))
    for number in range(RUNS):
        for cell in every:
            outcome = _run(cell)
            outcomes.setdefault(cell.name, []).append(outcome)
            print(f"run {number + 1}: {cell.name}: {outcome}", file=sys.stderr, flush=True)
    return [figure for cell in every for figure in _figures(cell, outcomes[cell.name])] + [_total(every, outcomes)]


def cells(kinds: tuple[str, ...]) -> Iterator[Cell]:
    """All pairs of these kinds, and the pairs behind one NAT."""
    unknown = [kind for kind in kinds if kind not in ACCESS]
    if unknown:
        raise LabError(f"no kind of place is named {', '.join(unknown)}; there are {', '.join(ACCESS)}")
    for one, other in combinations_with_replacement(kinds, 2):
        yield Cell(f"{one} × {other}", partial(_two_places, one, other), expected(one, other))
    if "easy" in kinds:
        yield Cell("one network", _one_network, expected_behind_one(is_one_segment=True, has_hairpin=False))
        for kind, has_hairpin in (("easy", False), ("hairpin", True)):
            yield Cell(
                f"one carrier {'with' if has_hairpin else 'without'} hairpin",
                partial(_one_carrier, kind),
                expected_behind_one(is_one_segment=False, has_hairpin=has_hairpin),
            )


def _two_places(one: str, other: str, places: Places) -> tuple[Place, Place]:
    return places.place(one), places.place(other)


def _one_network(places: Places) -> tuple[Place, Place]:
    home = places.place("easy")
    return home, home


def _one_carrier(kind: str, places: Places) -> tuple[Place, Place]:
    carrier = places.carrier(kind)
    return places.place("easy", carrier), places.place("easy", carrier)


def _run(cell: Cell) -> Outcome:
    """One pair in a lab of its own: nothing is left of the pair before."""
    try:
        with Lab(f"bench-paths-{cell.name}") as lab:
            mesh = WideMesh(lab)
            near, far = cell.places(mesh.places)
            existing = mesh.join("existing", near)
            _await_relay(existing)
            return _join(cell, mesh, existing, far.host("newcomer"))
    except LabError as error:
        return Outcome("none", fault=str(error).splitlines()[0])


def _await_relay(client: Client) -> None:
    """The machine that is there has been there for a while."""
    deadline = time.monotonic() + READY_SECONDS
    while not any(relay.reachable for relay in status(client).relays):
        if time.monotonic() > deadline:
            raise LabError(f"{client.name} reaches no relay in {READY_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)


def _join(cell: Cell, mesh: WideMesh, existing: Client, host: Host) -> Outcome:
    pinger = host.start(sys.executable, PINGER, _FIRST_ADDRESS)
    pinger.wait_for("ready")
    start = time.time()
    newcomer = Client(host, mesh.server, *_SECOND_PORT)
    first_ping = float(pinger.wait_for(r"answered at (\S+)", PING_SECONDS)[1]) - start
    pinger.terminate()
    is_direct = _watch(cell.expected, existing, newcomer)
    reports = path(existing, newcomer), path(newcomer, existing)
    missing = unanswered(existing.host, newcomer.addresses()) + unanswered(host, existing.addresses())
    return Outcome(
        kind="/".join(sorted({str(report.kind) for report in reports})),
        first_ping=first_ping,
        direct=max((report.since or start) for report in reports) - start if is_direct else None,
        fault=f"no answer of {', '.join(missing)}" if missing else "",
    )


def _watch(wanted: Expected, one: Client, other: Client) -> bool:
    """Wait until both ends are direct, or for as long as is due; whether they are."""
    deadline = time.monotonic() + (DIRECT_SECONDS if wanted is Expected.DIRECT else RELAY_SECONDS)
    while not (is_direct := all(path(*ends).kind is PathKind.DIRECT for ends in ((one, other), (other, one)))):
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_SECONDS)
    return is_direct


def _is_right(cell: Cell, outcome: Outcome) -> bool:
    return not outcome.fault and outcome.kind == cell.expected


def _figures(cell: Cell, outcomes: list[Outcome]) -> Iterator[Figure]:
    right = sum(_is_right(cell, outcome) for outcome in outcomes)
    faults = "".join(f"; {outcome.kind} {outcome.fault}" for outcome in outcomes if not _is_right(cell, outcome))
    pings = [outcome.first_ping for outcome in outcomes if outcome.first_ping is not None]
    direct = [outcome.direct for outcome in outcomes if outcome.direct is not None]
    said = f"as expected {right} of {len(outcomes)}{faults}"
    if pings:
        yield median(f"{cell.name}: first ping", pings, "s", aim=cell.expected, note=said)
    else:
        yield Figure(name=f"{cell.name}: runs as expected", value=right, unit="", aim=cell.expected, note=said)
    if direct:
        yield median(f"{cell.name}: direct", direct, "s", aim=cell.expected)


def _total(every: list[Cell], outcomes: dict[str, list[Outcome]]) -> Figure:
    runs = [(cell, outcome) for cell in every for outcome in outcomes[cell.name]]
    right = sum(_is_right(cell, outcome) for cell, outcome in runs)
    return Figure(name="paths: runs that ended as expected", value=right, unit="", aim=str(len(runs)))

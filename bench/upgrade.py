"""From the relay to a direct path: how long it takes, and what a flow loses by it.

A machine joins while another sends to it, or it sends to the other: 20 Mbit/s, which begins on the relay. Both ends'
debug logs say when they were told an address at which a relay hears the other; from the later of the two it is counted
until both say that the path is direct. The flow is sent from before there is a tunnel, and counts from the first of its
packets that arrives. What the receiver's WireGuard lost in its own socket, because it did not get the processor in
time, is named too: no path would have saved it. Between two hard NATs every probe fails: there the flow runs for a
minute. What a flow loses without any probe, between two public machines that are direct, is measured beside it.
"""

import re
import time
from typing import Final

from bench.flow import Flow
from bench.numbered import Received
from bench.report import Figure, median
from lab import Lab, LabError
from lab.mesh import Client
from lab.wide_mesh import PATH_TIMEOUT, WideMesh, path, status, wait_for_path
from wireguard_mesh.model.paths import PathKind

ROUNDS: Final = 20
MEGABITS: Final = 20.0
AFTER_SECONDS: Final = 2.0  # for so long the flow goes on when the path is direct
FAILING_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02
_DETAILED: Final = ("-log-level", "debug")
_TOLD: Final = re.compile(r"^(\d+\.\d+) .*stage=update .*reflexive=[1-9]", re.MULTILINE)
_FIRST, _SECOND = "10.100.0.1", "10.100.0.2"


def measure() -> list[Figure]:
    """Rounds in which the newcomer receives and in which it sends, in turn."""
    rounds = [_upgrade(is_newcomer_sending=bool(number % 2)) for number in range(ROUNDS)]
    seconds = [1000 * taken for taken, _flow, _overflowed in rounds]
    lost = [flow.lost for _taken, flow, _overflowed in rounds]
    sent = sum(flow.sent for _taken, flow, _overflowed in rounds)
    overflowed = sum(overflowed for _taken, _flow, overflowed in rounds)
    failing, plain = _failing(), _plain()
    return [
        median("upgrade: from both candidates known to direct", seconds, "ms", aim="< 200"),
        Figure(name="upgrade: the worst", value=max(seconds), unit="ms", note=f"of {ROUNDS}"),
        Figure(
            name=f"upgrade: packets lost of a {MEGABITS:.0f} Mbit/s flow, in all rounds",
            value=sum(lost),
            unit="packets",
            aim="0",
            note=f"of {sent}; {overflowed} in the socket of the receiver's WireGuard; "
            f"in {sum(bool(number) for number in lost)} of {ROUNDS} rounds, at most {max(lost)}",
        ),
        _loss("loss while every probe fails", *failing, aim="< 0.1"),
        _loss("loss without any probe", *plain),
    ]


def _loss(name: str, flow: Received, overflowed: int, aim: str = "") -> Figure:
    note = (
        f"{flow.lost} of {flow.sent}, {overflowed} in the receiver's socket, in {len(flow.gaps)} gaps, {flow.late} late"
    )
    return Figure(name=f"upgrade: {name}, {FAILING_SECONDS:.0f} s", value=flow.percent, unit="%", aim=aim, note=note)


def _upgrade(*, is_newcomer_sending: bool) -> tuple[float, Received, int]:
    """Seconds until direct, what became of the flow, and how many of it found the receiver's socket full."""
    with Lab("bench-upgrade") as lab:
        mesh = WideMesh(lab)
        one = mesh.join("one", "easy", *_DETAILED)
        _await_own_address(one)
        host = mesh.places.host("other", "easy")
        ends = (host, one.host, _FIRST) if is_newcomer_sending else (one.host, host, _SECOND)
        flow = Flow(*ends, MEGABITS)
        start = time.time()
        other = Client(host, mesh.server, *_DETAILED)
        other.addresses()
        since = [wait_for_path(*pair, PathKind.DIRECT).since or 0.0 for pair in ((one, other), (other, one))]
        time.sleep(AFTER_SECONDS)
        taken = max(since) - max(_told(client, start) for client in (one, other))
        found = flow.stop()
        return taken, found, flow.overflowed()


def _await_own_address(client: Client) -> None:
    """What it is told of relays that hear it is then about others."""
    deadline = time.monotonic() + PATH_TIMEOUT
    while not status(client).nat.reflexive:
        if time.monotonic() > deadline:
            raise LabError(f"no relay hears {client.name}")
        time.sleep(_LOOK_SECONDS)


def _told(client: Client, start: float) -> float:
    """When it first heard, after `start`, at which address a relay sees the other; Unix seconds."""
    for found in _TOLD.finditer(client.process.output()):
        if float(found[1]) >= start:
            return float(found[1])
    raise LabError(f"{client.name} was never told an address of the other")


def _failing() -> tuple[Received, int]:
    with Lab("bench-upgrade") as lab:
        mesh = WideMesh(lab)
        one, other = mesh.join("one", "hard"), mesh.join("other", "hard")
        wait_for_path(one, other, PathKind.RELAY)
        flow = Flow(one.host, other.host, other.ipv4, MEGABITS)
        time.sleep(FAILING_SECONDS)
        found = flow.stop()
        wait_for_path(one, other, PathKind.RELAY, timeout=0)
        return found, flow.overflowed()


def _plain() -> tuple[Received, int]:
    with Lab("bench-upgrade") as lab:
        mesh = WideMesh(lab)
        one, other = mesh.join("one", "public"), mesh.join("other", "public")
        wait_for_path(one, other, PathKind.DIRECT)
        flow = Flow(one.host, other.host, other.ipv4, MEGABITS)
        time.sleep(FAILING_SECONDS)
        found = flow.stop()
        assert path(one, other).kind is PathKind.DIRECT
        return found, flow.overflowed()

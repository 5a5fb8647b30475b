"""Where UDP is blocked: joining, what the WebSocket carries, and the way back to UDP when it opens."""

import sys
import time
from typing import Final

import msgspec

from bench.join import PINGER
from bench.report import Figure, median
from lab import Host, Lab, LabError
from lab.mesh import Client
from lab.wide_mesh import WideMesh, status, wait_for_path
from wireguard_mesh.model.paths import PathKind
from wireguard_mesh.protocol.status import Transport

ROUNDS: Final = 5
THROUGHPUT_SECONDS: Final = 5
RETURN_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.02
_FIRST_ADDRESS: Final = "10.100.0.1"


def measure() -> list[Figure]:
    """Each round has a lab of its own: a machine behind an easy NAT, and one that joins where UDP is blocked."""
    rounds = [_round() for _ in range(ROUNDS)]
    pings, carried, relayed, returns, directs = (list(values) for values in zip(*rounds, strict=True))
    return [
        median("UDP blocked: join to the first ping", pings, "s"),
        median("UDP blocked: TCP through the mesh over the WebSocket", carried, "Mbit/s"),
        median(
            "UDP blocked: of the same by the relay over UDP",
            [100 * one / other for one, other in zip(carried, relayed, strict=True)],
            "%",
        ),
        median("UDP opens: until it carries the relay's packets again", returns, "s"),
        median("UDP opens: until the pair is direct", directs, "s"),
    ]


def _round() -> tuple[float, float, float, float, float]:
    """First ping in seconds, Mbit/s over the WebSocket and over UDP, seconds until UDP is back and until direct."""
    with Lab("bench-blocked") as lab:
        mesh = WideMesh(lab)
        # A hard NAT at each end keeps them on the relay for as long as both ways of reaching it are measured.
        existing, hard = mesh.join("existing", "hard"), mesh.join("hard", "hard")
        cafe = mesh.places.place("udp-blocked")
        first_ping, guest = _join(mesh, cafe.host("guest"))
        existing.host.start("iperf3", "-s", "--forceflush").wait_for("Server listening")
        carried, relayed = _megabits(guest.host), _megabits(hard.host)
        friend = mesh.join("friend", "easy")
        wait_for_path(guest, friend, PathKind.RELAY)
        opened = time.time()
        cafe.router.allow_udp()
        back = _wait_for_udp(guest) - opened
        direct = [wait_for_path(*pair, PathKind.DIRECT, RETURN_SECONDS).since for pair in _both(guest, friend)]
        return first_ping, carried, relayed, back, max(since or opened for since in direct) - opened


def _both(one: Client, other: Client) -> tuple[tuple[Client, Client], tuple[Client, Client]]:
    return (one, other), (other, one)


def _join(mesh: WideMesh, host: Host) -> tuple[float, Client]:
    pinger = host.start(sys.executable, PINGER, _FIRST_ADDRESS)
    pinger.wait_for("ready")
    start = time.time()
    client = Client(host, mesh.server)
    answered = float(pinger.wait_for(r"answered at (\S+)", timeout=60)[1])
    pinger.terminate()
    return answered - start, client


def _wait_for_udp(client: Client) -> float:
    """When the relay was first seen to be reached by UDP, in Unix seconds."""
    deadline = time.monotonic() + RETURN_SECONDS
    while any(relay.transport is not Transport.UDP for relay in status(client).relays):
        if time.monotonic() > deadline:
            raise LabError(f"{client.name} is not back on UDP in {RETURN_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)
    return time.time()


def _megabits(host: Host) -> float:
    seconds = THROUGHPUT_SECONDS
    done = host.run("iperf3", "-c", _FIRST_ADDRESS, "-t", seconds, "-J", timeout=seconds + 30)
    report = msgspec.json.decode(done.stdout)
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6

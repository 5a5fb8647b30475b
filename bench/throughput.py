"""TCP through the mesh against TCP through WireGuard by hand, with the same WireGuard between the same hosts."""

import statistics

import msgspec

from bench.report import Figure, median
from lab import Host, Lab
from lab.mesh import Mesh

ROUNDS = 12
SECONDS = 3
HAND = "hand0"
MESH_ADDRESS, HAND_ADDRESS = "10.100.0.2", "10.99.0.2"
HAND_PORT = 51999


def measure() -> list[Figure]:
    """Both tunnels stand at once, and are measured in turn, so that noise of the machine meets both."""
    with Lab("bench-throughput") as lab:
        a, b = (client.host for client in Mesh(lab).join("a", "b"))
        _configure_by_hand(a, b)
        server = b.start("iperf3", "-s", "--forceflush")
        server.wait_for("Server listening")
        ours: list[float] = []
        hand: list[float] = []
        for number in range(ROUNDS):
            # Each goes first in every other round: what the machine does besides rises and falls.
            if number % 2:
                hand.append(_megabits(a, HAND_ADDRESS))
                ours.append(_megabits(a, MESH_ADDRESS))
            else:
                ours.append(_megabits(a, MESH_ADDRESS))
                hand.append(_megabits(a, HAND_ADDRESS))
    return [
        median(
            "throughput: mesh / by hand",
            [one / other for one, other in zip(ours, hand, strict=True)],
            "",
            aim=">= 0.98",
            note=f"medians {statistics.median(ours):.0f} / {statistics.median(hand):.0f} Mbit/s",
        )
    ]


def _configure_by_hand(a: Host, b: Host) -> None:
    """As the WireGuard quick start does it, with the same MTU as the mesh."""
    keys: dict[str, tuple[str, str]] = {}
    for host in (a, b):
        private = host.run("wg", "genkey").stdout.strip()
        keys[host.name] = (private, host.run("wg", "pubkey", text=private).stdout.strip())
    for number, (host, other) in enumerate(((a, b), (b, a)), 1):
        host.run("wireguard-go", HAND)
        host.run("wg", "set", HAND, "private-key", "/dev/stdin", "listen-port", HAND_PORT, text=keys[host.name][0])
        endpoint = f"{other.ipv4}:{HAND_PORT}"
        host.run("wg", "set", HAND, "peer", keys[other.name][1], "endpoint", endpoint, "allowed-ips", "10.99.0.0/24")
        host.run("ip", "address", "add", f"10.99.0.{number}/24", "dev", HAND)
        host.run("ip", "link", "set", HAND, "mtu", "1420", "up")


def _megabits(host: Host, address: str) -> float:
    done = host.run("iperf3", "-c", address, "-t", SECONDS, "-J", timeout=SECONDS + 20)
    report = msgspec.json.decode(done.stdout)
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6

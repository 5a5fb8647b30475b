"""A relay as vpn-server and vpn-relay have it, without the rest of them. Runs in a lab host.

    python -m bench.relay_host ADDRESS PORT FOLDER KEY…

FOLDER is for the journal. Each KEY is registered; `-` reads them from the standard input, one a line. Says
`relaying` and the process id when a relay process counts for the first time, and each time what it counts.
"""

import asyncio
import signal
import sys

from bench.wireguard_peers import key_of
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.relays import RelayId
from wireguard_mesh.relay.control import Observed, Setup, Stats
from wireguard_mesh.relay.sockets import bind_vantages, close
from wireguard_mesh.relay.supervisor import RelaySupervisor


def vantage_keys() -> tuple[PrivateKey, PrivateKey]:
    """Of both vantage points: the same in each run."""
    return key_of("vantage 0"), key_of("vantage 1")


class Shown:
    """Prints what a relay counts, and its process when it is another one."""

    def __init__(self) -> None:
        self.supervisor: RelaySupervisor | None = None
        self._pid: int | None = None

    def __call__(self, stats: Stats) -> None:
        assert self.supervisor is not None
        if self.supervisor.pid != self._pid:
            self._pid = self.supervisor.pid
            print(f"relaying pid={self._pid}", flush=True)
        dropped = " ".join(f"{reason.replace(' ', '-')}={count}" for reason, count in sorted(stats.dropped.items()))
        print(
            f"stats memory={stats.memory} busy={stats.busy:.3f} received={stats.received_packets} "
            f"forwarded={stats.forwarded_packets} answered={stats.answered} registered={stats.registered} "
            f"sessions={stats.sessions} routes={stats.routes} {dropped}",
            flush=True,
        )


def _ignore(_observed: Observed) -> None:
    """Where peers are is the server's concern."""


async def relay(address: str, port: int, folder: str, keys: list[PublicKey]) -> None:
    """Until SIGTERM."""
    sockets = bind_vantages(address, port)
    setup = Setup(relay=RelayId("bench"), vantages=vantage_keys(), folder=folder)
    shown = Shown()
    supervisor = shown.supervisor = RelaySupervisor(sockets, setup, _ignore, shown)
    supervisor.roster(keys, whole=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop)
    await supervisor.run()
    close(sockets)


def main() -> None:
    address, port, folder, *words = sys.argv[1:]
    if words == ["-"]:
        words = sys.stdin.read().split()
    asyncio.run(relay(address, int(port), folder, [PublicKey.from_base64(word) for word in words]))


if __name__ == "__main__":
    main()

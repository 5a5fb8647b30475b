"""What a standing tunnel loses while our software dies and comes back: a ping each 10 ms goes on meanwhile."""

from collections.abc import Callable

from bench.mesh import Mesh, mesh
from bench.report import Figure
from lab import Host, Process
from lab.probe import Probe

PINGS_BEFORE, PINGS_AFTER = 100, 300
RATE = 100  # pings a second


class _Pair:
    """Two clients, the agents of which can be killed and started anew."""

    def __init__(self, network: Mesh) -> None:
        self.network = network
        self.hosts: list[Host] = []
        self.agents: list[Process] = []
        for name in ("a", "b"):
            host, agent = network.join(name)
            self.hosts.append(host)
            self.agents.append(agent)

    def kill_agent(self) -> None:
        self.agents[0].kill()

    def start_agent(self) -> None:
        self.agents[0] = self.network.start_agent(self.hosts[0])

    def kill_server(self) -> None:
        self.network.server.kill()

    def upgrade(self) -> None:
        """As a package manager does it: each is asked to end, and the new one is started."""
        self.network.server.terminate()
        for number in range(len(self.agents)):
            self.agents[number].terminate()
        self.network.restart_server()
        for number, host in enumerate(self.hosts):
            self.agents[number] = self.network.start_agent(host)


def measure() -> list[Figure]:
    """Packets lost in each event, while it is out and until a good while after it is back."""
    with mesh("bench-survival") as network:
        pair = _Pair(network)
        pair.hosts[0].run("ping", "-c1", "-w10", "10.100.0.2")
        return [
            _lost("SIGKILL and restart of an agent", pair, pair.kill_agent, pair.start_agent),
            _lost("SIGKILL and restart of the server", pair, pair.kill_server, network.restart_server),
            _lost("upgrade restart of server and agents", pair, pair.upgrade),
        ]


def _lost(name: str, pair: _Pair, *events: Callable[[], None]) -> Figure:
    probe = Probe(pair.hosts[0], "10.100.0.2", RATE)
    _wait(probe, PINGS_BEFORE)
    for event in events:
        event()
        _wait(probe, PINGS_AFTER)
    losses = probe.stop()
    return Figure(name=f"packets lost: {name}", value=losses.lost, unit="packets", aim="0", note=str(losses))


def _wait(probe: Probe, pings: int) -> None:
    wanted = len(probe.replies()) + pings
    while len(probe.replies()) < wanted:
        probe.wait_for_reply()

"""What a standing tunnel loses while our software dies and comes back: a ping each 10 ms goes on meanwhile."""

from collections.abc import Callable

from bench.report import Figure
from lab import Lab
from lab.mesh import Mesh
from lab.probe import Probe

PINGS_BEFORE, PINGS_AFTER = 100, 300
RATE = 100  # pings a second


def measure() -> list[Figure]:
    """Packets lost in each event, while it is out and until a good while after it is back."""
    with Lab("bench-survival") as lab:
        mesh = Mesh(lab)
        first, second = mesh.join("a", "b")
        second.ping(first.ipv4)

        def kill_agent() -> None:
            first.process.kill()

        def start_agent() -> None:
            first.start()

        def kill_server() -> None:
            mesh.server.process.kill()

        def upgrade() -> None:
            # As a package manager does it: each is asked to end, and the new one is started.
            for process in (mesh.server.process, first.process, second.process):
                process.terminate()
            mesh.server.restart()
            first.start()
            second.start()

        def lost(name: str, *events: Callable[[], None]) -> Figure:
            probe = Probe(first.host, second.ipv4, RATE)
            probe.wait_for_replies(PINGS_BEFORE)
            for event in events:
                event()
                probe.wait_for_replies(PINGS_AFTER)
            losses = probe.stop()
            return Figure(name=f"packets lost: {name}", value=losses.lost, unit="packets", aim="0", note=str(losses))

        return [
            lost("SIGKILL and restart of an agent", kill_agent, start_agent),
            lost("SIGKILL and restart of the server", kill_server, mesh.server.restart),
            lost("upgrade restart of server and agents", upgrade),
        ]

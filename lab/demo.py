"""`make demo`: a server and clients, some behind NATs, each on a machine of its own, shown as it happens.

Everything is real: the programs as they are shipped, WireGuard, and a network for each machine. The exit code is
not 0 if anything fails.
"""

import re
import shlex
import sys
import time
from collections.abc import Iterator
from itertools import permutations

from lab.errors import LabError
from lab.host import Host
from lab.lab import Lab
from lab.mesh import INTERFACE, JOIN_TIMEOUT, Client, Mesh
from lab.process import Process
from lab.wide_mesh import PATH_TIMEOUT, path, wait_for_path
from wireguard_mesh.core import path_words
from wireguard_mesh.model.paths import PathKind

NAMES = ("ann", "bob", "eve")
EASY, HARD = ("gus", "hal"), ("ida", "jon")
_HOME = "192.168.1.0/24"  # the same at each home, as it is with homes
_LOOK_INTERVAL = 0.002  # seconds; a relayed path may last for some hundredths of a second only
_BOLD, _DIM, _PLAIN = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if sys.stdout.isatty() else ("", "", "")
_RTT = re.compile(r"time=(\S+) ms")
_PING_DEADLINE = 10  # seconds


class Stage:
    """Where it is shown: numbered headings with the time since the start, commands, and what they say."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._number = 0

    def heading(self, text: str) -> None:
        self._number += 1
        passed = time.monotonic() - self._started
        print(f"\n{_BOLD}{self._number}. {text}{_PLAIN}  {_DIM}({passed:.1f} s){_PLAIN}", flush=True)

    def command(self, host: Host, *words: object) -> None:
        line = shlex.join(str(word) for word in words)
        print(f"{_BOLD}{host.name} $ {line}{_PLAIN}", flush=True)

    def text(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            print(f"  {line}", flush=True)

    def table(self, rows: list[list[str]]) -> None:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            self.text("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def main() -> int:
    stage = Stage()
    print("A coordination server and seven clients, each on a machine of its own (network namespaces).")
    try:
        with Lab("demo") as lab:
            _perform(stage, lab)
    except LabError as error:
        print(f"\nthe demonstration failed: {error}", file=sys.stderr)
        return 1
    stage.heading("Everything is stopped and removed")
    return 0


def _perform(stage: Stage, lab: Lab) -> None:
    stage.heading("The server starts")
    mesh = Mesh(lab)
    _show(stage, mesh.server.host, mesh.server.process)

    stage.heading("Three clients register, and each makes its WireGuard interface")
    for name in NAMES:
        (client,) = mesh.join(name)
        client.process.wait_for("the mesh is up", JOIN_TIMEOUT)
        _show(stage, client.host, client.process)

    stage.heading("Each has an address of its own in the mesh, IPv4 and IPv6")
    _addresses(stage, mesh)

    stage.heading("All reach all, through WireGuard")
    _pings(stage, mesh)

    first = mesh.clients[0]
    stage.heading("What WireGuard and the agent say")
    _run(stage, first.host, "wg", "show", INTERFACE)
    _run(stage, first.host, "vpn-client", "status")

    stage.heading("Two more, each at home behind an easy NAT: from the relay to a direct path")
    _upgrade(stage, mesh)

    stage.heading("Two behind hard NATs, which take a new port for each destination: they stay on the relay")
    _stay(stage, mesh)

    stage.heading("A machine leaves: interface and routes are gone")
    _leave(stage, first)


def _show(stage: Stage, host: Host, process: Process) -> None:
    stage.command(host, *process.command)
    stage.text(process.output().replace(str(host.home), "~"))


def _run(stage: Stage, host: Host, *words: object) -> None:
    stage.command(host, *words)
    stage.text(host.run(*words).stdout)


def _addresses(stage: Stage, mesh: Mesh) -> None:
    rows = [["machine", "in its own network", "in the mesh", "", "public key"]]
    for client in mesh.clients:
        key = client.host.run("wg", "show", INTERFACE, "public-key").stdout.strip()
        rows.append([client.name, str(client.host.ipv4), str(client.ipv4), str(client.ipv6), key])
    stage.table(rows)


def _pings(stage: Stage, mesh: Mesh) -> None:
    rows = [["from", "to", "IPv4", "IPv6"]]
    for one, other in permutations(mesh.clients, 2):
        times = [f"{_round_trip(one, address)} ms" for address in other.addresses()]
        rows.append([one.name, other.name, *times])
    stage.table(rows)


def _round_trip(client: Client, address: object) -> str:
    output = client.host.run("ping", "-n", "-c1", "-i0.2", f"-w{_PING_DEADLINE}", address).stdout
    found = _RTT.search(output)
    if found is None:
        raise LabError(f"ping of {address} from {client.name} said nothing of a round trip:\n{output}")
    return found[1]


def _at_home(mesh: Mesh, name: str, kind: str) -> Client:
    """A client in a home of its own, whose router is of that kind."""
    home = mesh.lab.switch(f"home-{name}", _HOME)
    mesh.lab.router(f"router-{name}", home, mesh.lan, kind)
    return Client(mesh.lab.host(name, home), mesh.server)


def _upgrade(stage: Stage, mesh: Mesh) -> None:
    one = _at_home(mesh, EASY[0], "easy")
    one.addresses()
    other = _at_home(mesh, EASY[1], "easy")
    stage.text(f"The path of {one.name} to {other.name}, from when {other.name} is started:")
    for passed, text in _paths_until_direct(one, other):
        stage.text(f"  {passed:5.2f} s  {text}")
    _run(stage, one.host, "vpn-client", "ping", "--until-direct", other.name)
    _run(stage, one.host, "vpn-client", "explain", other.name)


def _paths_until_direct(one: Client, other: Client) -> Iterator[tuple[float, str]]:
    """Each path that the agent of `one` has to `other`, with the seconds since now, as soon as it has it.

    Raises `LabError` if none is direct in time.
    """
    started = time.monotonic()
    shown = ""
    while time.monotonic() < started + PATH_TIMEOUT:
        report = path(one, other)
        text = path_words.path(report)
        if report.kind is not PathKind.NONE and text != shown:
            shown = text
            yield time.monotonic() - started, text
        if report.kind is PathKind.DIRECT:
            return
        time.sleep(_LOOK_INTERVAL)
    raise LabError(f"{one.name} did not reach {other.name} directly, but: {shown or 'not at all'}")


def _stay(stage: Stage, mesh: Mesh) -> None:
    one, other = (_at_home(mesh, name, "hard") for name in HARD)
    other.addresses()
    wait_for_path(one, other, PathKind.RELAY)
    _run(stage, one.host, "vpn-client", "ping", "-c", "2", other.name)
    _run(stage, one.host, "vpn-client", "explain", other.name)
    if (found := path(one, other)).kind is not PathKind.RELAY:
        raise LabError(f"the path of {one.name} to {other.name} did not stay on the relay: {path_words.path(found)}")


def _leave(stage: Stage, client: Client) -> None:
    _run(stage, client.host, "vpn-client", "down")
    client.process.wait(JOIN_TIMEOUT)
    left = client.host.run("ip", "-brief", "address").stdout
    stage.command(client.host, "ip", "-brief", "address")
    stage.text(left)
    if INTERFACE in left:
        raise LabError(f"{INTERFACE} still stands on {client.name} after `vpn-client down`")


if __name__ == "__main__":
    sys.exit(main())

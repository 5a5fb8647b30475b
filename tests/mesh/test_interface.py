"""What is ours is adopted and taken down, what is not ours is left alone."""

import pytest

from lab import Host
from lab.mesh import INTERFACE, Client, Mesh
from lab.state import network_state

pytestmark = pytest.mark.lab

_FOLDERS = ("/run/wireguard-mesh", "/run/wireguard")


def _files(host: Host) -> list[str]:
    """Sockets and other files that an agent has while it runs, but locks, which may stay."""
    found = [file for folder in _FOLDERS for file in host.path(folder).glob("**/*")]
    return sorted(str(file) for file in found if file.suffix != ".lock")


def test_down_undoes_everything(mesh: Mesh) -> None:
    host = mesh.lab.host("one", mesh.lan)
    before = network_state(host)
    client = Client(host, mesh.server)
    assert client.addresses()
    assert network_state(host) != before

    host.run("vpn-client", "down")
    client.process.wait()
    assert network_state(host) == before
    assert _files(host) == []
    assert host.processes("wireguard-go") == {}


def test_down_undoes_everything_after_a_crash(mesh: Mesh) -> None:
    host = mesh.lab.host("one", mesh.lan)
    before = network_state(host)
    client = Client(host, mesh.server)
    assert client.addresses()
    client.process.kill()
    assert host.kill("wireguard-go") == 1

    host.run("vpn-client", "down")
    assert network_state(host) == before
    assert _files(host) == []


def test_down_needs_no_agent_and_may_be_said_twice(mesh: Mesh) -> None:
    (client,) = mesh.join("one")
    client.process.kill()
    client.host.run("vpn-client", "down")
    assert client.host.processes("wireguard-go") == {}
    client.host.run("vpn-client", "down")


@pytest.mark.parametrize("kind", ["tun", "wireguard"])
def test_a_foreign_interface_of_that_name_is_left_alone(mesh: Mesh, kind: str) -> None:
    host = mesh.lab.host("one", mesh.lan)
    if kind == "tun":
        host.run("ip", "tuntap", "add", "name", INTERFACE, "mode", "tun")
    else:
        host.run("wireguard-go", INTERFACE)
        host.run("wg", "set", INTERFACE, "private-key", "/dev/stdin", text=host.run("wg", "genkey").stdout)
    host.run("ip", "address", "add", "10.9.9.9/24", "dev", INTERFACE)
    before = network_state(host), host.run("wg", "show", "all", "dump").stdout

    client = Client(host, mesh.server)
    assert client.process.wait(20) != 0
    said = client.process.output()
    assert INTERFACE in said
    assert "-interface" in said
    assert "Traceback" not in said
    after = network_state(host), host.run("wg", "show", "all", "dump").stdout
    assert after == before

    other = Client(host, mesh.server, "-interface", "mesh0")
    other.process.wait_for(r"10\.100\.0\.\d+", timeout=20)
    assert host.run("wg", "show", "mesh0", "public-key").stdout


def test_only_one_agent_runs_for_an_interface(mesh: Mesh) -> None:
    (client,) = mesh.join("one")
    first = client.process
    second = client.start()
    assert second.wait(20) != 0
    assert "Traceback" not in second.output()
    assert first.running
    assert client.addresses()


@pytest.mark.parametrize("is_running", [True, False])
def test_what_somebody_makes_in_place_of_ours_is_left_alone(mesh: Mesh, is_running: bool) -> None:
    (client,) = mesh.join("one")
    host = client.host
    if not is_running:
        client.process.kill()
    host.kill("wireguard-go")
    # As quick as a person cannot be, lest the agent be first.
    theirs = 'wireguard-go "$1" && wg genkey | wg set "$1" private-key /dev/stdin fwmark 77'
    # A round may find nothing to delete; without the colon that would be the loop's own exit status.
    host.run("sh", "-c", f'until ({theirs}) 2>/dev/null; do ip link delete "$1"; :; done', "sh", INTERFACE)
    before = host.run("wg", "show", "all", "dump").stdout
    if is_running:
        client.process.wait_for("is not ours", timeout=20)
    else:
        assert client.start().wait(20) != 0
        assert "is not ours" in client.process.output()
    host.run("vpn-client", "down", check=False)
    assert host.run("wg", "show", "all", "dump").stdout == before

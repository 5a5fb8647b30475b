"""What a machine can lack, and what can be wrong with it: one clear line, and nothing lost."""

import json
import sys
from pathlib import Path

import pytest

from lab import Host
from lab.mesh import INTERFACE, Client, Mesh, interface_addresses
from lab.state import network_state

pytestmark = pytest.mark.lab

_FOLDER = "~/.config/wireguard-mesh"


def _refused(client: Client, *words: str) -> None:
    """The agent ended with an error of one line that has these words, and changed nothing on the machine."""
    assert client.process.wait(20) != 0
    lines = client.process.output().strip().splitlines()
    assert "Traceback" not in client.process.output()
    for word in words:
        assert word in lines[-1]
    assert interface_addresses(client.host) == []
    assert client.host.processes("wireguard-go") == {}


def _host(mesh: Mesh) -> Host:
    return mesh.lab.host("a", mesh.lan)


def test_without_wireguard_go_it_names_the_package(mesh: Mesh) -> None:
    host = _host(mesh)
    host.run("mount", "--bind", "/dev/null", host.run("sh", "-c", "command -v wireguard-go").stdout.strip())
    _refused(Client(host, mesh.server, "-backend", "userspace"), "wireguard-go")


def test_without_the_tun_device_it_says_so(mesh: Mesh) -> None:
    host = _host(mesh)
    host.run("mount", "-t", "tmpfs", "tmpfs", "/dev/net")
    _refused(Client(host, mesh.server, "-backend", "userspace"), "/dev/net/tun")


def test_without_root_it_says_so(mesh: Mesh) -> None:
    host = _host(mesh)
    home = host.path("~")
    home.chmod(0o777)
    process = host.start(
        "setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "vpn-client", "-server", mesh.server.url
    )
    assert process.wait(20) != 0
    assert "root" in process.output()
    assert "Traceback" not in process.output()


def test_a_port_in_use_is_named(mesh: Mesh) -> None:
    host = _host(mesh)
    holder = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 51820)); print('held'); input()"
    host.start("sh", "-c", f'sleep 1000 | "{sys.executable}" -c "{holder}"').wait_for("held")
    client = Client(host, mesh.server)
    assert client.process.wait(20) != 0
    assert "51820" in client.process.output()
    assert "-listen-port" in client.process.output()
    assert host.processes("wireguard-go") == {}


def test_a_local_route_that_overlaps_the_mesh_is_left_alone(mesh: Mesh) -> None:
    host = _host(mesh)
    host.run("ip", "route", "add", "10.100.3.0/24", "dev", "eth0")
    before = network_state(host)
    client = Client(host, mesh.server)
    assert client.process.wait(20) != 0
    assert "10.100.3.0/24" in client.process.output()
    assert "Traceback" not in client.process.output()
    assert network_state(host) == before


def test_a_corrupt_identity_is_kept_and_never_overwritten(mesh: Mesh) -> None:
    host = _host(mesh)
    file = host.path(f"{_FOLDER}/client.json")
    file.parent.mkdir(parents=True)
    file.write_text('{"private_key": "half of')
    _refused(Client(host, mesh.server), "client.json")
    kept = [path.read_text() for path in file.parent.iterdir() if path.is_file()]
    assert '{"private_key": "half of' in kept


def test_a_full_disk_ends_nothing_that_stands(mesh: Mesh) -> None:
    one, other = mesh.join("one", "two")
    assert mesh.unreachable() == []
    folder = one.host.path(_FOLDER)
    identity = json.loads((folder / "client.json").read_text())
    one.process.terminate()
    # The same files on a disk of their own, which has no room left.
    one.host.run("sh", "-c", f"cp -a {folder} /run/kept && mount -t tmpfs -o size=64k tmpfs {folder}")
    one.host.run("sh", "-c", f"cp -a /run/kept/. {folder}/ && cat /dev/zero > {folder}/filler || true")

    one.start()
    (third,) = mesh.join("three")
    one.process.wait_for("cannot be written .*No space left")
    assert one.ping(*other.addresses(), *third.addresses()) == []
    mesh.join("four")
    assert mesh.unreachable() == []
    assert one.process.running
    assert one.process.output().count("cannot be written") == 1
    assert "Traceback" not in one.process.output()
    inside = json.loads(one.host.run("cat", folder / "client.json").stdout)
    assert inside["private_key"] == identity["private_key"]


def test_no_disk_at_all_is_one_clear_line(mesh: Mesh) -> None:
    host = _host(mesh)
    Path(host.path(_FOLDER)).mkdir(parents=True)
    host.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", host.path(_FOLDER))
    _refused(Client(host, mesh.server), str(host.path(_FOLDER)))


def test_a_server_that_is_not_there_is_said_once_and_awaited(mesh: Mesh) -> None:
    mesh.server.process.kill()
    client = Client(_host(mesh), mesh.server)
    client.process.wait_for("cannot be reached", timeout=20)
    mesh.server.restart()
    assert client.addresses()
    assert client.process.output().count("cannot be reached") == 1
    assert client.host.run("wg", "show", INTERFACE, "public-key").stdout

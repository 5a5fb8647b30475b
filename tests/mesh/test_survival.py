"""What stands goes on while our programs die and come back, and what died with WireGuard itself comes back."""

import time

import pytest

from lab.mesh import INTERFACE, Client, Mesh
from lab.probe import Probe

pytestmark = pytest.mark.lab

_SOME = 30  # pings, at a hundred a second
_MANY = 200


def _pair(mesh: Mesh) -> tuple[Client, Client]:
    one, other = mesh.join("one", "two")
    assert mesh.unreachable() == []
    return one, other


def _public_key(client: Client) -> str:
    return client.host.run("wg", "show", INTERFACE, "public-key").stdout


def _wait_for_saved_map(client: Client, peer: Client) -> None:
    """A map is on disk a moment after its tunnels stand."""
    file = client.host.path("~/.config/wireguard-mesh/map.json")
    deadline = time.monotonic() + 10
    while not file.exists() or _public_key(peer).strip() not in file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_packet_is_lost_while_an_agent_is_dead_and_when_it_comes_back(mesh: Mesh) -> None:
    one, other = _pair(mesh)
    (daemon,) = one.host.processes("wireguard-go")
    before = one.addresses(), _public_key(one)
    probe = Probe(one.host, other.ipv4)
    back = Probe(other.host, one.ipv6)
    probe.wait_for_replies(_SOME)

    one.process.kill()
    probe.wait_for_replies(_SOME)
    one.start().wait_for("mesh is up", timeout=20)
    probe.wait_for_replies(_MANY)

    assert probe.stop().lost == 0
    assert back.stop().lost == 0
    assert (one.addresses(), _public_key(one)) == before
    assert list(one.host.processes("wireguard-go")) == [daemon]  # adopted, not made anew


def test_no_packet_is_lost_while_the_server_is_dead_and_when_it_comes_back(mesh: Mesh) -> None:
    one, other = _pair(mesh)
    before = one.addresses()
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME)

    mesh.server.process.kill()
    probe.wait_for_replies(_SOME)
    mesh.server.restart()
    probe.wait_for_replies(_MANY)

    assert probe.stop().lost == 0
    assert one.addresses() == before
    (third,) = mesh.join("three")
    assert str(third.ipv4) == "10.100.0.3"
    assert mesh.unreachable() == []


def test_an_upgrade_of_all_programs_loses_no_packet(mesh: Mesh) -> None:
    one, other = _pair(mesh)
    probe = Probe(one.host, other.ipv4)
    probe.wait_for_replies(_SOME)

    for process in (mesh.server.process, one.process, other.process):
        assert process.terminate() == 0
    mesh.server.restart()
    for client in (one, other):
        client.start().wait_for("mesh is up", timeout=20)
    probe.wait_for_replies(_MANY)

    assert probe.stop().lost == 0


def test_an_agent_starts_from_its_last_map_when_no_server_answers(mesh: Mesh) -> None:
    one, other = _pair(mesh)
    before = one.addresses()
    _wait_for_saved_map(one, other)
    mesh.server.process.kill()
    one.process.kill()
    assert one.host.kill("wireguard-go") == 1  # as after a reboot: nothing of the tunnel is left

    one.start()
    assert one.addresses() == before
    assert one.ping(*other.addresses()) == []


def test_wireguard_killed_comes_back_by_itself(mesh: Mesh) -> None:
    one, other = _pair(mesh)
    before = one.addresses(), _public_key(one)
    assert one.host.kill("wireguard-go") == 1

    probe = Probe(other.host, one.ipv4)
    probe.wait_for_reply(timeout=30)
    probe.stop()
    assert one.process.running
    assert (one.addresses(), _public_key(one)) == before
    assert mesh.unreachable() == []


def test_addresses_and_keys_survive_the_death_of_all_at_once(mesh: Mesh) -> None:
    clients = mesh.join("one", "two", "three")
    before = [(client.addresses(), _public_key(client)) for client in clients]
    mesh.server.process.kill()
    for client in clients:
        client.process.kill()
        assert client.host.kill("wireguard-go") == 1

    mesh.server.restart()
    for client in clients:
        client.start()
    assert [(client.addresses(), _public_key(client)) for client in clients] == before
    assert mesh.unreachable() == []

"""A machine that belongs to one mesh does not slip into another."""

import json

import pytest

from lab.mesh import Client, Mesh, Server

pytestmark = pytest.mark.lab


def test_another_server_is_not_taken_without_being_asked(mesh: Mesh) -> None:
    (client,) = mesh.join("one")
    client.process.terminate()
    file = client.host.path("~/.config/wireguard-mesh/client.json")
    before = json.loads(file.read_text())

    other = Server(mesh.lab.host("other", mesh.lan), "-network", "10.77.0.0/16")
    refused = client.host.run("vpn-client", "-server", other.url, check=False)
    assert refused.returncode != 0
    assert other.url in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr
    assert json.loads(file.read_text()) == before

    back = Client(client.host, mesh.server)
    back.process.wait_for(str(before["assigned_ip"]), timeout=20)

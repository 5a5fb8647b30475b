"""A server is found by whatever people write after `-server`."""

import pytest

from lab import Lab
from lab.mesh import Client, Mesh, unanswered

pytestmark = pytest.mark.lab


def test_names_addresses_and_slashes(mesh: Mesh) -> None:
    host = mesh.server.host
    spellings = (
        f"http://{host.ipv4}:8080/",
        f"http://[{host.ipv6}]:8080",
        "http://coordinator.example:8080",
        f"{host.ipv4}:8080",
    )
    clients = []
    for number, spelling in enumerate(spellings):
        machine = mesh.lab.host(f"machine{number}", mesh.lan)
        with machine.path("/etc/hosts").open("a") as names:
            names.write(f"{host.ipv4} coordinator.example\n")
        clients.append(Client(machine, mesh.server, url=spelling))
    everywhere = [address for client in clients for address in client.addresses()]
    for client in clients:
        assert unanswered(client.host, everywhere) == [], client.name


def test_what_is_no_address_is_refused(lab: Lab) -> None:
    host = lab.host("a")
    for spelling in ("http://", "ftp://192.0.2.1", "http://192.0.2.1:99999", "http://a b", "http://[::1"):
        done = host.run("vpn-client", "-server", spelling, check=False)
        assert done.returncode != 0, spelling
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert not host.path("~/.config/wireguard-mesh/client.json").exists()

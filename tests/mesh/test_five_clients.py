"""Five clients: all reach all, and every JSON has the fields and types that other programs rely on."""

import json
import re
import stat
from contextlib import closing
from datetime import datetime
from http.client import HTTPConnection
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from lab import Host
from lab.mesh import INTERFACE, PORT, Mesh

pytestmark = pytest.mark.lab

_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")
_NONE = "(none)"  # wg's word for no allowed IPs
_PEER_ID = re.compile(r"peer-\d{6,12}")
_NAMES = ("one", "two", "three", "four", "five")


def _ask(mesh: Mesh, method: str, target: str, body: object = None) -> Any:
    """What the server answers to any plain HTTP client on the network."""
    with mesh.clients[0].host.machine.network():
        connection = HTTPConnection(str(mesh.server.host.ipv4), PORT)
        connection.connect()
    with closing(connection):
        sent = None if body is None else json.dumps(body)
        connection.request(method, target, sent, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, text
        return json.loads(text)


def _shape(value: Any) -> Any:
    """Names and types of a JSON value; of a list the shape that all its items share."""
    if isinstance(value, dict):
        return {name: _shape(item) for name, item in value.items()}
    if isinstance(value, list):
        shapes = [_shape(item) for item in value]
        assert all(shape == shapes[0] for shape in shapes)
        return shapes[:1]
    return type(value).__name__


def _config(host: Host, name: str) -> dict[str, Any]:
    file = host.path("~/.config/wireguard-mesh") / name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_five_clients(mesh: Mesh) -> None:
    clients = mesh.join(*_NAMES)
    assert [str(client.ipv4) for client in clients] == [f"10.100.0.{number}" for number in range(1, 6)]
    assert len({client.ipv6 for client in clients}) == 5
    assert mesh.unreachable() == []

    _check_files(mesh)
    _check_status(mesh)
    _check_plain_api(mesh)


def _check_files(mesh: Mesh) -> None:
    server = _config(mesh.server.host, "server.json")
    assert _shape(server) == dict.fromkeys(
        ("listen_addr", "network_cidr", "private_key", "public_key", "db_path"), "str"
    )
    assert (server["listen_addr"], server["network_cidr"]) == (":8080", "10.100.0.0/16")
    assert _KEY.fullmatch(server["public_key"])
    for client in mesh.clients:
        found = _config(client.host, "client.json")
        seed = {
            "server_addr": "str",
            "interface_name": "str",
            "private_key": "str",
            "public_key": "str",
            "peer_id": "str",
            "assigned_ip": "str",
            "exit_node": "bool",
            "listen_port": "int",
        }
        assert {name: kind for name, kind in _shape(found).items() if name in seed} == seed
        assert found["server_addr"] == mesh.server.url
        assert found["assigned_ip"] == str(client.ipv4)
        assert (found["interface_name"], found["exit_node"], found["listen_port"]) == ("wg0", False, 51820)
        assert _PEER_ID.fullmatch(found["peer_id"])
        derived = client.host.run("wg", "pubkey", text=found["private_key"]).stdout.strip()
        assert found["public_key"] == derived
        assert client.host.run("wg", "show", INTERFACE, "public-key").stdout.strip() == derived


def _check_status(mesh: Mesh) -> None:
    for client in mesh.clients:
        status = client.status()
        peers = status["interface"].pop("peers")
        assert _shape(status) == {
            "peer_id": "str",
            "assigned_ip": "str",
            "network": "str",
            "public_key": "str",
            "interface": {"name": "str", "num_peers": "int"},
        }
        assert status["network"] == "10.100.0.0/16"
        assert status["interface"] == {"name": INTERFACE, "num_peers": 4}
        lines = client.host.run("wg", "show", INTERFACE, "allowed-ips").stdout.splitlines()
        shown = {key for key, allowed in (line.split("\t") for line in lines) if allowed != _NONE}
        assert {peer["public_key"] for peer in peers} == shown, "vantage points of relays are no members"


def _check_plain_api(mesh: Mesh) -> None:
    me = _config(mesh.clients[0].host, "client.json")["peer_id"]
    answer = _ask(mesh, "GET", f"/peers?peer_id={me}")
    assert _shape(answer) == {
        "peers": [
            {
                **dict.fromkeys(("id", "public_key", "virtual_ip", "endpoint", "hostname", "os"), "str"),
                "allowed_ips": ["str"],
                "exit_node": "bool",
                "online": "bool",
                "last_heartbeat": "str",
            }
        ]
    }
    assert [peer["hostname"] for peer in answer["peers"]] == list(_NAMES[1:])
    for peer, client in zip(answer["peers"], mesh.clients[1:], strict=True):
        assert peer["virtual_ip"] == str(client.ipv4)
        assert peer["allowed_ips"] == [f"{client.ipv4}/32"]
        assert peer["endpoint"] == f"{client.host.ipv4}:51820"
        assert (peer["os"], peer["exit_node"], peer["online"]) == ("linux", False, True)
        assert datetime.fromisoformat(peer["last_heartbeat"]).utcoffset() is not None
    _check_plain_registration(mesh)


def _check_plain_registration(mesh: Mesh) -> None:
    host = mesh.clients[0].host
    key = host.run("wg", "pubkey", text=host.run("wg", "genkey").stdout).stdout.strip()
    request = {
        "public_key": key,
        "hostname": "my-laptop",
        "os": "linux",
        "endpoint": "1.2.3.4:51820",
        "request_ip": True,
        "exit_node": False,
    }
    answer = _ask(mesh, "POST", "/register", request)
    assert _shape(answer) == {
        "success": "bool",
        "assigned_ip": "str",
        "network_cidr": "str",
        "peer_id": "str",
        "server_public_key": "str",
    }
    assert answer["success"] is True
    assert ip_address(answer["assigned_ip"]) in ip_network(answer["network_cidr"])
    assert answer == _ask(mesh, "POST", "/register", request)  # the address stays with the key
    beat = {"peer_id": answer["peer_id"], "endpoint": "1.2.3.4:51821"}
    assert _ask(mesh, "POST", "/heartbeat", beat) == {"success": True}
    others = _ask(mesh, "GET", "/peers?peer_id=peer-000000")["peers"]
    (entry,) = [peer for peer in others if peer["id"] == answer["peer_id"]]
    assert entry["endpoint"] == "1.2.3.4:51821"

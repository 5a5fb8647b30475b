"""Exit routing and forwarding with real WireGuard: what a server outside sees."""

import sys

import pytest

from lab.host import Host
from lab.lab import Lab
from lab.machine import ROOT

# One agent's side, in short: a device with one peer, and the host around it.
AGENT = """
import asyncio, sys
from ipaddress import ip_interface, ip_network
import msgspec
from tests.samples import private_key, public_key
from tests.system.hosts import EXIT_NODE, EXIT_USER, MEMBER, WG0
from wireguard_mesh.model.devices import DeviceChange, PeerChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.system.linux import LinuxSystem
from wireguard_mesh.wireguard.userspace import UserspaceBackend

role, other = sys.argv[1], sys.argv[2]

async def main():
    system, backend = LinuxSystem(), UserspaceBackend()
    if role == "down":
        await system.undo(WG0)
        await backend.remove(WG0)
        return
    number, peer, wanted, allowed = {
        "node": (1, 2, EXIT_NODE, ["10.100.0.2/32", "fd01:2345:6789::2/128"]),
        "user": (2, 1, EXIT_USER, ["0.0.0.0/0", "::/0"]),
    }[role]
    addresses = frozenset(map(ip_interface, (f"10.100.0.{number}/16", f"fd01:2345:6789::{number}/64")))
    await system.prepare(WG0)
    await backend.create(WG0, 1420)
    await backend.apply(WG0, DeviceChange(
        private_key=private_key(number), listen_port=51820, fwmark=51820, peers=(PeerChange(
            public_key=public_key(peer), create=True, endpoint=Endpoint.parse(other),
            allowed_ips=frozenset(map(ip_network, allowed))),)))
    await system.apply(msgspec.structs.replace(wanted, addresses=addresses))
    await system.close()
    await backend.close()

asyncio.run(main())
"""
# A server outside that says who asks, and a client that prints it.
SERVER = """
import socket, threading
def serve(family, address):
    with socket.create_server((address, 8000), family=family) as listener:
        while True:
            connection, peer = listener.accept()
            connection.sendall(peer[0].encode())
            connection.close()
threading.Thread(target=serve, args=(socket.AF_INET6, "::"), daemon=True).start()
print("ready", flush=True)
serve(socket.AF_INET, "0.0.0.0")
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 8000), timeout=10) as connection:
    print(connection.recv(100).decode())
"""
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}


def agent(host: Host, role: str, other: str = "-") -> None:
    host.run(sys.executable, "-c", AGENT, role, other, env=ENVIRONMENT)


def seen_from(host: Host, server: object) -> str:
    return host.run(sys.executable, "-c", CLIENT, server).stdout.strip()


@pytest.mark.lab
@pytest.mark.slow
def test_traffic_leaves_by_the_exit_node_and_after_down_as_before(lab: Lab) -> None:
    # The user and the exit node each have a network of their own behind a plain router.
    home = lab.switch("home", "192.168.1.0/24", "2001:db8:1::/64")
    site = lab.switch("site", "192.168.2.0/24", "2001:db8:2::/64")
    internet = lab.switch("internet", "203.0.113.0/24", "2001:db8:99::/64")
    lab.router("home-router", home, internet)
    lab.router("site-router", site, internet)
    user, neighbour, node = lab.host("user", home), lab.host("neighbour", home), lab.host("node", site)
    web = lab.host("web", internet)
    for server in (web, neighbour):
        server.start(sys.executable, "-c", SERVER).wait_for("ready")
    assert seen_from(user, web.ipv4) == str(user.ipv4)
    # A strict check of sources is the hard case: answers to marked packets must count as marked.
    user.sysctl({"ipv4.conf.all.rp_filter": 1, "ipv4.conf.eth0.rp_filter": 1})

    agent(node, "node", f"{user.ipv4}:51820")
    agent(user, "user", f"{node.ipv4}:51820")
    assert seen_from(user, web.ipv4) == str(node.ipv4)
    assert seen_from(user, web.ipv6) == str(node.ipv6)
    assert seen_from(user, neighbour.ipv4) == str(user.ipv4), "the local network is reached directly"
    assert seen_from(node, web.ipv4) == str(node.ipv4)
    marked = CLIENT.replace("socket.create_connection((sys.argv[1], 8000), timeout=10)", "socket.socket()").replace(
        "    print",
        "    connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 51820)\n"
        "    connection.settimeout(10)\n    connection.connect((sys.argv[1], 8000))\n    print",
    )
    direct = user.run(sys.executable, "-c", marked, web.ipv4).stdout.strip()
    assert direct == str(user.ipv4), "the agent's own connections stay outside the tunnel"

    agent(user, "down")
    assert seen_from(user, web.ipv4) == str(user.ipv4)
    assert seen_from(user, web.ipv6) == str(user.ipv6)
    agent(node, "down")
    assert not node.processes("wireguard-go")

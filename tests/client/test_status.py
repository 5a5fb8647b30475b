from ipaddress import ip_network

from tests.client.conftest import WG0
from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.client.status import peer_statuses
from wireguard_mesh.core.exit_nodes import ExitDecision
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.protocol.status import NO_PATH

MAP = NetworkMap(
    epoch="e",
    revision=1,
    network=NETWORK,
    me=peer(1),
    peers={public_key(number): peer(number) for number in (300, 2)},
)
SEEN = ObservedPeer(
    public_key=public_key(2),
    allowed_ips=frozenset({*peer(2).addresses, ip_network("0.0.0.0/0"), ip_network("::/0")}),
    received_bytes=5,
)
DEVICE = ObservedDevice(name=WG0, backend=BackendKind.KERNEL, peers={public_key(2): SEEN})
DIRECT = PathReport(kind=PathKind.DIRECT, endpoint=Endpoint.parse("192.0.2.3:51820"))


def no_path(_key: PublicKey) -> PathReport:
    return NO_PATH


def path_of(key: PublicKey) -> PathReport:
    return DIRECT if key == public_key(2) else NO_PATH


def test_without_a_map_there_is_nobody() -> None:
    assert peer_statuses(None, DEVICE, ExitDecision(), lambda _key: True, no_path) == ()


def test_all_of_the_map_by_address_with_what_the_device_says() -> None:
    through = ExitDecision(routed=True, key=public_key(2))
    first, second = peer_statuses(MAP, DEVICE, through, lambda _key: True, path_of)
    assert [first.hostname, second.hostname] == ["host-2", "host-300"]
    assert (first.active, first.exit_node_in_use, first.received_bytes) == (True, True, 5)
    assert first.allowed_ips == ("0.0.0.0/0", "10.100.0.2/32", "::/0", f"{peer(2).ipv6}/128")
    assert (first.path, second.path) == (DIRECT, NO_PATH)
    assert (second.active, second.exit_node_in_use, second.allowed_ips) == (False, False, ())


def test_without_a_device_nobody_is_active() -> None:
    assert not any(one.active for one in peer_statuses(MAP, None, ExitDecision(), lambda _key: True, no_path))

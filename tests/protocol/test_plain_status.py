from tests.protocol.test_local import STATUS
from tests.samples import peer, public_key
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.protocol.plain_status import PlainPeer, plain_status
from wireguard_mesh.protocol.status import ServerStatus, State, Status


def test_the_plain_status_has_the_fixed_fields() -> None:
    plain = plain_status(STATUS)
    assert (plain.peer_id, plain.assigned_ip, plain.network) == ("peer-000001", "10.100.0.1", "10.100.0.0/16")
    assert plain.public_key == public_key(1).to_base64()
    assert (plain.interface.name, plain.interface.num_peers) == ("wg0", 2)
    first, second = plain.interface.peers
    assert first == PlainPeer(
        public_key=public_key(2).to_base64(),
        endpoint="192.0.2.3:51820",
        allowed_ips=("10.100.0.2/32", f"{peer(2).ipv6}/128"),
        last_handshake="2023-11-14T22:13:20Z",
        rx_bytes=10,
        tx_bytes=20,
    )
    assert second.last_handshake == ""


def test_the_plain_status_before_the_first_registration() -> None:
    empty = Status(
        state=State.STOPPED,
        interface=InterfaceName("wg0"),
        public_key=public_key(1),
        server=ServerStatus(address=""),
    )
    plain = plain_status(empty)
    assert (plain.peer_id, plain.assigned_ip, plain.network, plain.interface.peers) == ("", "", "", ())

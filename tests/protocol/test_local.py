import pytest

from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.model.devices import BackendKind
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.status import PeerStatus, ServerStatus, State, Status

REQUESTS: list[local.Request] = [
    local.StatusRequest(),
    local.DownRequest(),
    local.LogoutRequest(),
    local.SetRequest(use_exit_node="off"),
]


def status_of(number: int, *, in_device: bool = True) -> PeerStatus:
    one = peer(number)
    return PeerStatus(
        id=one.id,
        hostname=one.hostname,
        os=one.os,
        public_key=one.public_key,
        ipv4=one.ipv4,
        ipv6=one.ipv6,
        online=in_device,
        endpoint=Endpoint.parse("192.0.2.3:51820") if in_device else None,
        allowed_ips=(f"{one.ipv4}/32", f"{one.ipv6}/128") if in_device else (),
        latest_handshake=1_700_000_000.5 if number == 2 else 0.0,
        received_bytes=10,
        sent_bytes=20,
    )


STATUS = Status(
    state=State.UP,
    interface=InterfaceName("wg0"),
    backend=BackendKind.USERSPACE,
    peer_id="peer-000001",
    public_key=public_key(1),
    ipv4=peer(1).ipv4,
    ipv6=peer(1).ipv6,
    network=NETWORK,
    server=ServerStatus(address="http://192.0.2.1:8080", reachable=True),
    peers=(status_of(2), status_of(3), status_of(4, in_device=False)),
)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_requests_travel(request_: local.Request) -> None:
    assert local.request.decode(encode(request_)) == request_


@pytest.mark.parametrize(
    "answer",
    [STATUS, local.Done("so"), local.Refused(code="c", error="e", hint="h")],
    ids=lambda one: type(one).__name__,
)
def test_answers_travel_in_one_line(answer: local.Answer) -> None:
    line = encode(answer)
    assert b"\n" not in line
    assert local.answer.decode(line) == answer


@pytest.mark.parametrize("line", [b"", b"{}", b'{"type":"format"}', b'{"type":"set","exit_node":1}', b"[]"])
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidValue):
        local.request.decode(line)


def test_a_request_of_a_newer_program_is_understood() -> None:
    assert local.request.decode(b'{"type":"set","exit_node":true,"colour":"red"}') == local.SetRequest(exit_node=True)

import pytest

from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.model.devices import BackendKind
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.relays import OWN_RELAY, NatClass
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.diagnosis import Explanation, FamilyCheck, Netcheck, Pong, VantageCheck, WebCheck
from wireguard_mesh.protocol.status import NatStatus, PeerStatus, PortMapping, ServerStatus, State, Status, UdpState

REQUESTS: list[local.Request] = [
    local.StatusRequest(),
    local.DownRequest(),
    local.LogoutRequest(),
    local.SetRequest(use_exit_node="off"),
    local.NetcheckRequest(),
    local.PingRequest(peer="bob", timeout=1.5, is_ipv6=True, sequence=65535),
    local.ExplainRequest("bob"),
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


NETCHECK = Netcheck(
    udp=UdpState.WORKS,
    ipv4=FamilyCheck(addresses=("192.0.2.1",), works=True),
    nat=NatClass.EASY,
    wireguard=NatStatus(kind=NatClass.EASY, reflexive=(Endpoint.parse("203.0.113.9:7"),)),
    vantage_points=(
        VantageCheck(
            relay=OWN_RELAY,
            number=0,
            endpoint=Endpoint.parse("192.0.2.1:8080"),
            sent=4,
            answered=3,
            milliseconds=11.5,
            mapped=Endpoint.parse("203.0.113.9:8"),
        ),
    ),
    port_mapping=PortMapping(protocol="pcp", endpoint=Endpoint.parse("203.0.113.9:51820")),
    web=WebCheck(reachable=True, milliseconds=20.0, websocket=True, proxy="http://proxy:3128"),
)
DIRECT = PathReport(kind=PathKind.DIRECT, endpoint=Endpoint.parse("192.0.2.3:51820"), since=1.5)
PONG = Pong(peer=peer(2).id, hostname=peer(2).hostname, address="10.100.0.2", sequence=1, milliseconds=1.5, path=DIRECT)
EXPLANATION = Explanation(peer=peer(2).id, hostname=peer(2).hostname, path=DIRECT, summary="So it is.", why=("so",))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_requests_travel(request_: local.Request) -> None:
    assert local.request.decode(encode(request_)) == request_


@pytest.mark.parametrize(
    "answer",
    [STATUS, NETCHECK, PONG, EXPLANATION, local.Done("so"), local.Refused(code="c", error="e", hint="h")],
    ids=lambda one: type(one).__name__,
)
def test_answers_travel_in_one_line(answer: local.Answer) -> None:
    line = encode(answer)
    assert b"\n" not in line
    assert local.answer.decode(line) == answer


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"type":"format"}',
        b'{"type":"set","exit_node":1}',
        b'{"type":"ping","peer":"x","timeout":99}',
        b"[]",
    ],
)
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidValue):
        local.request.decode(line)


def test_a_request_of_a_newer_program_is_understood() -> None:
    assert local.request.decode(b'{"type":"set","exit_node":true,"colour":"red"}') == local.SetRequest(exit_node=True)

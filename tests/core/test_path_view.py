import msgspec
import pytest

from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.core import path_view
from wireguard_mesh.core.relay_choice import VantageReport
from wireguard_mesh.model.devices import BackendKind, ObservedDevice, ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import CandidateKind, PathKind, PathReport
from wireguard_mesh.model.peers import NetworkMap, Peer
from wireguard_mesh.model.relays import OWN_RELAY, NatClass, Relay, RelayId, VantagePoint
from wireguard_mesh.protocol.status import NatStatus, RelayStatus, Transport, UdpState

NOW = 1_000_000.0
SERVER = Endpoint.parse("203.0.113.1:8080").address
FRA = RelayId("fra-1")
FRA_AT = Endpoint.parse("198.51.100.7:8080")
HOST, MAPPED, REFLEXIVE = (Endpoint.parse(text) for text in ("10.0.0.2:1", "203.0.113.9:2", "203.0.113.9:3"))
RELAYS = (
    Relay(id=OWN_RELAY, vantage_points=(VantagePoint(public_key(90), 8080), VantagePoint(public_key(91), 8081))),
    Relay(id=FRA, vantage_points=(VantagePoint(public_key(92), 8080),), ipv4=FRA_AT.address),  # type: ignore[arg-type]
)
PEER = Peer(
    id=peer(2).id,
    public_key=public_key(2),
    hostname=peer(2).hostname,
    os="",
    ipv4=peer(2).ipv4,
    ipv6=peer(2).ipv6,
    endpoints=(HOST,),
    mapped=(MAPPED,),
    reflexive=(REFLEXIVE, HOST),
)
MAP = NetworkMap(epoch="e", revision=1, network=NETWORK, me=peer(1), peers={public_key(2): PEER}, relays=RELAYS)
BY_SERVER = PathReport(kind=PathKind.RELAY, relay=OWN_RELAY)
ABROAD = PathReport(kind=PathKind.DIRECT, candidate=CandidateKind.REFLEXIVE)
AT_HOME = PathReport(kind=PathKind.DIRECT, candidate=CandidateKind.LAN)


def device(**seen: str) -> ObservedDevice:
    """Peers `k90` and so on, heard from just now at these addresses."""
    keys = {public_key(int(name[1:])): Endpoint.parse(text) for name, text in seen.items()}
    peers = {
        key: ObservedPeer(public_key=key, endpoint=endpoint, latest_handshake=NOW - 5) for key, endpoint in keys.items()
    }
    return ObservedDevice(name=InterfaceName("wg0"), backend=BackendKind.KERNEL, peers=peers)


REPORTS = (
    VantageReport(
        relay=FRA,
        vantage=0,
        public_key=public_key(92),
        endpoint=FRA_AT,
        answers=False,
        is_carried=False,
        seconds=0.012,
        mapped=None,
    ),
)


def statuses(seen: ObservedDevice | None, *paths: PathReport) -> tuple[RelayStatus, ...]:
    return path_view.relay_statuses(MAP, seen, paths, (SERVER,), REPORTS, NOW)


def test_without_a_map_there_are_no_relays() -> None:
    assert path_view.relay_statuses(None, None, (), (), (), NOW) == ()
    assert path_view.relays_by_endpoint(None, None, ()) == {}


def test_relays_that_were_not_reached() -> None:
    own, fra = statuses(None)
    assert (own.addresses, fra.addresses) == ((Endpoint(SERVER, 8080),), (FRA_AT,))
    assert (own.reachable, own.transport, own.milliseconds, fra.milliseconds) == (False, Transport.NONE, None, None)


def test_a_session_with_any_vantage_point_says_that_a_relay_is_reached() -> None:
    own, fra = statuses(device(k91="203.0.113.1:8081"), BY_SERVER, BY_SERVER, ABROAD)
    assert (own.reachable, own.transport, own.latest_handshake, own.pairs) == (True, Transport.UDP, NOW - 5, 2)
    assert (fra.reachable, fra.pairs) == (False, 0)


def test_an_old_session_says_nothing() -> None:
    seen = device(k90="203.0.113.1:8080")
    (own, _) = path_view.relay_statuses(MAP, seen, (), (SERVER,), (), NOW + 180)
    assert not own.reachable


def test_a_relay_whose_packets_go_to_this_machine_itself_is_reached_by_websocket() -> None:
    own, _ = statuses(device(k90="127.0.0.1:40000"))
    assert own.transport is Transport.WEBSOCKET
    nowhere = device(k90="127.0.0.1:8080")
    loopback = Endpoint.parse("127.0.0.1:1").address
    (own, _) = path_view.relay_statuses(MAP, nowhere, (), (loopback,), (), NOW)
    assert own.transport is Transport.UDP


@pytest.mark.parametrize(("is_carried", "transport"), [(False, Transport.UDP), (True, Transport.WEBSOCKET)])
def test_what_the_agent_knows_of_a_relay_is_more_than_what_the_device_says(
    is_carried: bool, transport: Transport
) -> None:
    known = msgspec.structs.replace(REPORTS[0], answers=True, is_carried=is_carried)
    _, fra = path_view.relay_statuses(MAP, None, (), (SERVER,), (known,), NOW)
    assert (fra.reachable, fra.transport, fra.milliseconds, fra.latest_handshake) == (True, transport, 12.0, 0.0)
    dead = msgspec.structs.replace(known, answers=False)
    _, fra = path_view.relay_statuses(MAP, device(k92=str(FRA_AT)), (), (SERVER,), (dead,), NOW)
    assert (fra.reachable, fra.milliseconds) == (False, None)


def test_a_relay_is_gone_though_its_other_vantage_point_has_a_session_still() -> None:
    dead = msgspec.structs.replace(REPORTS[0], relay=OWN_RELAY, public_key=public_key(90))
    other = msgspec.structs.replace(dead, vantage=1, public_key=public_key(91), answers=True)
    own, _ = path_view.relay_statuses(MAP, device(k91="203.0.113.1:8081"), (), (SERVER,), (dead, other), NOW)
    assert (own.reachable, own.transport) == (False, Transport.NONE)


def test_a_session_without_an_address_came_by_udp() -> None:
    seen = ObservedPeer(public_key=public_key(90), latest_handshake=NOW)
    known = ObservedDevice(name=InterfaceName("wg0"), backend=BackendKind.KERNEL, peers={public_key(90): seen})
    assert statuses(known)[0].transport is Transport.UDP


@pytest.mark.parametrize(
    ("transport", "paths", "nat", "state"),
    [
        (Transport.UDP, (), NatClass.BLOCKED, UdpState.WORKS),
        (Transport.NONE, (ABROAD,), NatClass.UNKNOWN, UdpState.WORKS),
        (Transport.NONE, (AT_HOME, BY_SERVER), NatClass.UNKNOWN, UdpState.UNKNOWN),
        (Transport.NONE, (), NatClass.BLOCKED, UdpState.BLOCKED),
        (Transport.WEBSOCKET, (), NatClass.UNKNOWN, UdpState.BLOCKED),
    ],
)
def test_whether_udp_works(transport: Transport, paths: tuple[PathReport, ...], nat: NatClass, state: UdpState) -> None:
    assert path_view.udp_state([RelayStatus(id=FRA, transport=transport)], paths, nat) is state


def test_what_the_map_says_of_this_machine() -> None:
    assert path_view.nat_status(None, (HOST,)) == NatStatus(host=(HOST,))
    assert path_view.nat_status(MAP, ()).host == peer(1).endpoints
    assert path_view.nat_status(MAP, (HOST,)).host == (HOST,)


def test_which_relay_is_where() -> None:
    known = path_view.relays_by_endpoint(MAP, device(k90="127.0.0.1:40000"), (SERVER,))
    assert known == {
        Endpoint(SERVER, 8080): OWN_RELAY,
        Endpoint.parse("127.0.0.1:40000"): OWN_RELAY,
        FRA_AT: FRA,
    }


@pytest.mark.parametrize(
    ("at", "is_alive", "kind", "candidate", "relay"),
    [
        (None, True, PathKind.NONE, None, None),
        (HOST, False, PathKind.NONE, None, None),
        (HOST, True, PathKind.DIRECT, CandidateKind.HOST, None),
        (MAPPED, True, PathKind.DIRECT, CandidateKind.MAPPED, None),
        (REFLEXIVE, True, PathKind.DIRECT, CandidateKind.REFLEXIVE, None),
        (Endpoint.parse("192.0.2.200:7"), True, PathKind.DIRECT, CandidateKind.SEEN, None),
        (FRA_AT, True, PathKind.RELAY, None, FRA),
    ],
)
def test_the_path_by_the_device_alone(
    at: Endpoint | None,
    is_alive: bool,
    kind: PathKind,
    candidate: CandidateKind | None,
    relay: RelayId | None,
) -> None:
    seen = ObservedPeer(public_key=public_key(2), endpoint=at)
    path = path_view.path_of_device(PEER, seen, {FRA_AT: FRA}, is_alive=is_alive)
    assert (path.kind, path.candidate, path.relay, path.endpoint) == (kind, candidate, relay, at)
    assert [trial.endpoint for trial in path.trials] == [HOST, MAPPED, REFLEXIVE]


def test_a_peer_that_the_device_does_not_have_has_no_path() -> None:
    assert path_view.path_of_device(PEER, None, {}, is_alive=False).endpoint is None

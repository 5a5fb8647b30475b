import msgspec
import pytest

from tests.core.status_samples import bob
from tests.samples import public_key
from wireguard_mesh.core.pairs import DEFAULT_PORT, HERE, Pair
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, PathReport, Trial
from wireguard_mesh.model.relays import OWN_RELAY, NatClass
from wireguard_mesh.protocol.status import NatStatus, RelayStatus, ServerStatus, State, Status, UdpState

NOW = 1_000_000.0
V4, OTHER_V4 = Endpoint.parse("198.51.100.1:40001"), Endpoint.parse("198.51.100.2:40002")
V6, OTHER_V6 = Endpoint.parse("[2001:db8::1]:1"), Endpoint.parse("[2001:db8::2]:2")
RELAY = RelayStatus(id=OWN_RELAY, addresses=(Endpoint.parse("203.0.113.1:8080"),), reachable=True)
UNKNOWN = NatStatus()
SILENT_RELAY = msgspec.structs.replace(RELAY, reachable=False)


def trial(endpoint: Endpoint, times: int = 4) -> Trial:
    return Trial(endpoint=endpoint, kind=CandidateKind.REFLEXIVE, outcome=Outcome.WAITING, times=times)


def pair(
    *trials: Trial, nat: NatStatus = UNKNOWN, kind: PathKind = PathKind.RELAY, relays: tuple[RelayStatus, ...] = ()
) -> Pair:
    status = Status(
        state=State.UP,
        interface=InterfaceName("wg0"),
        public_key=public_key(1),
        server=ServerStatus(address="http://x"),
        udp=UdpState.BLOCKED,
        nat=nat,
        relays=relays,
    )
    return Pair(status, bob(PathReport(kind=kind, relay=OWN_RELAY, trials=trials)), NOW)


def test_what_is_not_known_is_what_is_usual() -> None:
    unknown = pair()
    assert (unknown.own_port, unknown.peer_port) == (DEFAULT_PORT, DEFAULT_PORT)
    assert unknown.own_nat is NatClass.BLOCKED  # for nothing comes by UDP
    assert unknown.nats == {NatClass.BLOCKED, NatClass.UNKNOWN}
    assert unknown.hard() == ("bob", DEFAULT_PORT)
    assert unknown.ago(NOW - 90) == "1m ago"


@pytest.mark.parametrize(
    ("own", "other", "lacking"),
    [
        ((V6,), (OTHER_V4,), "bob"),
        ((V4,), (OTHER_V6,), HERE),
        ((V4, V6), (OTHER_V4,), None),
        ((V6,), (OTHER_V4, OTHER_V6), None),
        ((), (OTHER_V4,), None),
        ((V4,), (), None),
    ],
)
def test_who_lacks_ipv6(own: tuple[Endpoint, ...], other: tuple[Endpoint, ...], lacking: str | None) -> None:
    assert pair(*map(trial, other), nat=NatStatus(host=own)).without_ipv6 == lacking


def test_the_address_of_a_nat_that_both_are_behind() -> None:
    behind = NatStatus(reflexive=(Endpoint(OTHER_V4.address, 7),))
    assert pair(trial(OTHER_V4), nat=behind).shared_address == OTHER_V4.address
    assert pair(trial(OTHER_V4), nat=NatStatus(reflexive=(V4,))).shared_address is None


@pytest.mark.parametrize(("times", "is_probing"), [(3, True), (4, False)])
def test_after_a_few_tries_silence_means_something(times: int, is_probing: bool) -> None:
    assert pair(trial(V4, times)).is_probing is is_probing


@pytest.mark.parametrize(
    ("kind", "relay", "silent"),
    [
        (PathKind.RELAY, SILENT_RELAY, SILENT_RELAY),
        (PathKind.RELAY, RELAY, None),
        (PathKind.DIRECT, SILENT_RELAY, None),
    ],
)
def test_a_relay_that_is_used_and_does_not_answer(
    kind: PathKind, relay: RelayStatus, silent: RelayStatus | None
) -> None:
    assert pair(kind=kind, relays=(relay,)).silent_relay == silent
    assert pair(kind=kind, relays=(relay,)).is_without_relay is not relay.reachable
    assert not pair().is_without_relay


def test_where_relays_are() -> None:
    assert pair(relays=(RELAY, RELAY)).relay_addresses == "203.0.113.1:8080"
    assert pair().relay_addresses == "at the server"

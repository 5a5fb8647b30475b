"""Each case that somebody may ask about, with the sentence that tells it and what would help."""

from typing import Any

import msgspec
import pytest

from tests.core.status_samples import bob
from tests.samples import public_key
from wireguard_mesh.core.explaining import explain
from wireguard_mesh.core.path_words import NAT
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, PathReport, Trial
from wireguard_mesh.model.relays import OWN_RELAY, NatClass
from wireguard_mesh.protocol.diagnosis import Explanation
from wireguard_mesh.protocol.status import NatStatus, RelayStatus, ServerStatus, State, Status, UdpState

NOW = 1_000_000.0
EASY, HARD, PUBLIC, BLOCKED, UNKNOWN = NatClass.EASY, NatClass.HARD, NatClass.PUBLIC, NatClass.BLOCKED, NatClass.UNKNOWN
RELAY = RelayStatus(id=OWN_RELAY, addresses=(Endpoint.parse("203.0.113.1:8080"),), reachable=True)
OWN_REFLEXIVE = Endpoint.parse("198.51.100.1:40001")
REFLEXIVE = Endpoint.parse("198.51.100.2:40002")
HOST = Endpoint.parse("192.168.1.2:51999")
BY_RELAY = PathReport(kind=PathKind.RELAY, relay=OWN_RELAY, since=NOW - 120)
NO_PATH = PathReport(kind=PathKind.NONE)


def tried(endpoint: Endpoint, kind: CandidateKind, **changes: Any) -> Trial:
    silent = Trial(endpoint=endpoint, kind=kind, outcome=Outcome.SILENT, times=4, last_tried=NOW - 9)
    return msgspec.structs.replace(silent, **changes)


SILENT = (tried(HOST, CandidateKind.HOST), tried(REFLEXIVE, CandidateKind.REFLEXIVE))


def told(
    path: PathReport, own: NatClass = EASY, other: NatClass = EASY, *, online: bool = True, **changes: Any
) -> Explanation:
    """The explanation of the path to `bob`; `changes` are of the status."""
    handshake = changes.pop("handshake", 0.0)
    status = Status(
        state=State.UP,
        interface=InterfaceName("wg0"),
        listen_port=51821,
        public_key=public_key(1),
        server=ServerStatus(address="http://x", reachable=True, since=NOW - 999),
        nat=NatStatus(kind=own, reflexive=(OWN_REFLEXIVE,)),
        relays=(RELAY,),
    )
    other_end = bob(path, nat=other, online=online, latest_handshake=handshake)
    return explain(msgspec.structs.replace(status, **changes), other_end, NOW)


def by_relay(*trials: Trial, **changes: Any) -> PathReport:
    return msgspec.structs.replace(BY_RELAY, trials=trials or SILENT, **changes)


def direct(kind: CandidateKind | None) -> PathReport:
    return PathReport(kind=PathKind.DIRECT, endpoint=HOST, candidate=kind, since=NOW - 300, trials=SILENT)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (CandidateKind.LAN, "Both machines are in one network."),
        (CandidateKind.IPV6, "Both machines have IPv6"),
        (CandidateKind.MAPPED, "The router of bob forwards"),
        (CandidateKind.REFLEXIVE, "Each NAT lets in what answers"),
        (CandidateKind.HOST, "bob can be reached at this address"),
        (CandidateKind.DOUBTFUL, "bob answered at this address"),
        (CandidateKind.SEEN, "which it did not name"),
        (None, "which it did not name"),
    ],
)
def test_a_direct_path_needs_no_advice(kind: CandidateKind | None, why: str) -> None:
    one = told(direct(kind))
    assert one.summary == "Packets to bob go directly to 192.168.1.2:51999 (for 5m)."
    assert why in one.why[0]
    assert one.candidates[0] == "192.168.1.2:51999, one of its own addresses: in use"
    assert one.advice == ()


def test_both_ends_and_each_candidate_are_told() -> None:
    mapped = tried(Endpoint.parse("198.51.100.2:5"), CandidateKind.MAPPED)
    one = told(by_relay(*SILENT, mapped), EASY, HARD)
    assert one.ends == (
        f"this machine {NAT[EASY]}; relays hear it from 198.51.100.1:40001",
        f"bob {NAT[HARD]}; relays hear it from 198.51.100.2:40002; its router forwards 198.51.100.2:5 to it",
    )
    assert one.candidates[1] == (
        "198.51.100.2:40002, from where relays hear it: tried 4 times, last 9s ago: nothing came back"
    )
    assert (one.nat, one.peer_nat, one.path.kind) == (EASY, HARD, PathKind.RELAY)
    assert one.summary == "Packets to bob go by the relay server (for 2m)."


def test_two_hard_nats() -> None:
    one = told(by_relay(), HARD, HARD)
    assert "Both ends are behind hard NATs, which use a new port for each destination" in one.why[0]
    assert "forward UDP port 51821 (here) or 51999 (there)" in one.advice[0]
    assert "port mapping" in one.advice[0]
    assert "IPv6" in one.advice[1]


@pytest.mark.parametrize(
    ("own", "other", "why", "advice"),
    [
        (HARD, EASY, "The NAT of this machine is hard", "On this machine, forward UDP port 51821"),
        (EASY, HARD, "The NAT of bob is hard", "On bob, forward UDP port 51999"),
        (PUBLIC, HARD, "This machine has a public address", "Open UDP port 51821 in the firewall of this machine"),
        (EASY, PUBLIC, "bob has a public address", "Open UDP port 51999 in the firewall of bob"),
        (
            EASY,
            EASY,
            "Both NATs are easy, so it should work",
            "Open UDP port 51999 in the firewall of bob, or 51821 here",
        ),
        (UNKNOWN, EASY, "None of the addresses", "Open UDP port 51999"),
        (BLOCKED, EASY, "No relay answers this machine by UDP", "Let UDP out of this machine's network"),
        (EASY, BLOCKED, "No relay answers bob by UDP", "Let UDP out of the network of bob"),
    ],
)
def test_pairs_of_nats_between_which_nothing_arrives(own: NatClass, other: NatClass, why: str, advice: str) -> None:
    one = told(by_relay(), own, other)
    assert why in one.why[0]
    assert advice in one.advice[0]


def test_a_machine_that_no_relay_hears_by_udp_is_blocked_too() -> None:
    one = told(by_relay(), UNKNOWN, EASY, udp=UdpState.BLOCKED)
    assert one.nat is BLOCKED
    assert "WebSocket" in one.why[0]


def test_two_machines_behind_one_nat() -> None:
    one = told(by_relay(), EASY, EASY, nat=NatStatus(kind=EASY, reflexive=(Endpoint(REFLEXIVE.address, 7),)))
    assert "behind the same NAT (198.51.100.2)" in one.why[0]
    assert "client isolation" in one.advice[0]


def test_a_path_that_broke() -> None:
    broke = tried(REFLEXIVE, CandidateKind.REFLEXIVE, last_heard=NOW - 90, outcome=Outcome.SILENT)
    before = tried(HOST, CandidateKind.HOST, last_heard=NOW - 900)
    one = told(by_relay(broke, before, next_probe=NOW + 30))
    assert one.why[0] == (
        "There was a direct path by 198.51.100.2:40002, from where nothing was heard any more: the last 1m ago."
    )
    assert one.why[1] == "Direct addresses are tried again in 30s."


def test_addresses_that_are_still_being_tried() -> None:
    waiting = tried(REFLEXIVE, CandidateKind.REFLEXIVE, outcome=Outcome.WAITING, times=1)
    one = told(by_relay(waiting))
    assert one.why == ("The addresses of bob are just being tried.",)
    assert one.advice == ()


def test_addresses_that_were_tried_often_are_silent_though_an_answer_may_yet_come() -> None:
    waiting = tried(REFLEXIVE, CandidateKind.REFLEXIVE, outcome=Outcome.WAITING, times=4)
    assert "hard NATs" in told(by_relay(waiting), HARD, HARD).why[0]


def test_a_peer_that_names_no_address() -> None:
    nowhere = msgspec.structs.replace(BY_RELAY, trials=(), since=None)
    one = told(nowhere, listen_port=0)
    assert one.summary == "Packets to bob go by the relay server."
    assert one.why == ("No address is known at which bob could be called directly from here.",)
    assert one.advice == ()


def test_a_usual_port_is_named_where_none_is_known() -> None:
    one = told(by_relay(SILENT[1]), HARD, HARD, listen_port=0)
    assert one.advice[0].startswith("On one of the two, forward UDP port 51820 to it in its router")


@pytest.mark.parametrize(
    ("handshake", "why"),
    [
        (0.0, "The server does not hear it, and this machine never had a tunnel to it."),
        (NOW - 7200, "The server does not hear it, and its tunnel was last renewed 2h ago."),
    ],
)
def test_a_peer_that_is_offline(handshake: float, why: str) -> None:
    one = told(NO_PATH, online=False, handshake=handshake)
    assert one.summary == "bob is offline."
    assert one.why == (why,)
    assert "See whether vpn-client runs on bob" in one.advice[0]


def test_a_peer_whose_tunnel_lives_though_the_server_does_not_hear_it() -> None:
    one = told(by_relay(), online=False)
    assert "The server does not hear bob, but its tunnel lives." in one.why


def test_a_mesh_without_a_relay() -> None:
    one = told(msgspec.structs.replace(NO_PATH, trials=SILENT), relays=())
    assert one.summary == "There is no path to bob now."
    assert one.why[0] == "The mesh has no relay, so packets can go directly only."
    assert "vpn-relay" in one.advice[0]
    assert "firewall" in one.advice[1]


@pytest.mark.parametrize(("addresses", "at"), [(RELAY.addresses, "203.0.113.1:8080"), ((), "at the server")])
def test_no_relay_is_reached(addresses: tuple[Endpoint, ...], at: str) -> None:
    gone = msgspec.structs.replace(RELAY, reachable=False, addresses=addresses)
    one = told(msgspec.structs.replace(NO_PATH, trials=SILENT), relays=(gone,))
    assert one.why[0] == "This machine reaches no relay (server), so packets can go directly only."
    assert one.advice[0] == f"Let UDP out to the relays ({at}), and see: vpn-client netcheck"


def test_a_peer_that_does_not_answer_by_a_relay_that_works() -> None:
    one = told(msgspec.structs.replace(NO_PATH, trials=SILENT))
    assert "bob does not answer by it" in one.why[0]


def test_before_the_mesh_is_up() -> None:
    assert told(NO_PATH, state=State.JOINING).why == ("The mesh is not up here yet.",)


def test_without_an_agent() -> None:
    untried = tried(HOST, CandidateKind.HOST, outcome=Outcome.UNTRIED, times=0)
    one = told(msgspec.structs.replace(NO_PATH, trials=(untried,)), state=State.STOPPED)
    (why,) = one.why  # nothing is "just being tried"
    assert why.startswith("No agent runs here for wg0:")
    assert one.advice == ("Start the agent here: vpn-client up",)


def test_the_server_is_unreachable() -> None:
    away = ServerStatus(address="http://x", since=NOW - 60)
    assert "The server has not answered for 1m" in told(by_relay(), server=away).why[1]
    unasked = ServerStatus(address="http://x")
    assert len(told(by_relay(), server=unasked).why) == 1


def test_a_relay_that_no_longer_answers() -> None:
    silent = msgspec.structs.replace(RELAY, reachable=False)
    one = told(by_relay(), HARD, HARD, relays=(silent,))
    assert one.why[0] == "That relay does not answer this machine now: what is sent to bob may be lost."
    assert "hard NATs" in one.why[1]
    assert one.advice[0] == "See whether the relay server runs; then, from here: vpn-client netcheck"


@pytest.mark.parametrize(
    ("own", "other", "four", "six"),
    [
        (Endpoint.parse("[2001:db8::1]:1"), REFLEXIVE, "bob", "this machine"),
        (OWN_REFLEXIVE, Endpoint.parse("[2001:db8::2]:2"), "this machine", "bob"),
    ],
)
def test_no_version_of_ip_in_common(own: Endpoint, other: Endpoint, four: str, six: str) -> None:
    silent = tried(other, CandidateKind.DOUBTFUL, outcome=Outcome.WAITING, times=1)  # no need to wait for more
    one = told(by_relay(silent), EASY, PUBLIC, nat=NatStatus(kind=EASY, reflexive=(own,)))
    assert one.why[0] == f"There is no direct way between IPv4 and IPv6: {four} has IPv4 only, {six} has IPv6 only."
    assert one.advice == (f"Give {four} IPv6.",)


@pytest.mark.parametrize(("left", "when"), [(0.4, "now"), (-3.0, "now"), (1.5, "in 1s")])
def test_when_direct_addresses_are_tried_again(left: float, when: str) -> None:
    assert told(by_relay(next_probe=NOW + left)).why[-1] == f"Direct addresses are tried again {when}."

import msgspec
import pytest

from tests.protocol.test_local import EXPLANATION, NETCHECK, PONG
from wireguard_mesh.cli.diagnosis_output import (
    explanation_lines,
    netcheck_lines,
    ping_summary,
    pong_line,
    via,
)
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.relays import OWN_RELAY, NatClass
from wireguard_mesh.protocol.diagnosis import FamilyCheck, Netcheck, WebCheck
from wireguard_mesh.protocol.status import NO_PATH, PortMapping, UdpState

BY_RELAY = PathReport(kind=PathKind.RELAY, relay=OWN_RELAY)


def test_a_netcheck_of_a_good_network() -> None:
    lines = [" ".join(line.split()) for line in netcheck_lines(NETCHECK)]
    assert lines == [
        "UDP works",
        "IPv4 works; this machine has 192.0.2.1",
        "IPv6 not tried, since no relay has such an address; this machine has no address",
        "NAT easy: one port for all destinations, so direct paths are likely",
        "WireGuard easy, heard from 203.0.113.9:7 (as relays told the server)",
        "port mapping 203.0.113.9:51820, by pcp",
        "HTTP the server answers in 20.0 ms",
        "WebSocket works",
        "proxy http://proxy:3128",
        "",
        "RELAY ASKED AT ROUND TRIP ANSWERS HEARD FROM",
        "server 1 192.0.2.1:8080 11.5 ms 3/4 203.0.113.9:8",
    ]


def test_a_netcheck_of_a_bad_network() -> None:
    found = Netcheck(
        udp=UdpState.BLOCKED,
        vantage_points=NETCHECK.vantage_points,
        ipv4=FamilyCheck(works=False),
        nat=NatClass.BLOCKED,
        port_mapping=PortMapping(problem="the gateway refuses"),
        web=WebCheck(problem="no connection"),
        problems=("the map has no relay",),
    )
    text = "\n".join(netcheck_lines(found))
    assert "blocked: no relay answers by UDP, though the server does over HTTP" in text
    assert "nothing answered by it; this machine has no address" in text
    assert "WireGuard     unknown\n" in text
    assert "the gateway refuses" in text
    assert "the server does not answer: no connection" in text
    assert "WebSocket     not tried" in text
    assert "problem       the map has no relay\n" in text


def test_a_netcheck_that_had_nobody_to_ask() -> None:
    lines = netcheck_lines(Netcheck(udp=UdpState.UNKNOWN))
    assert lines[0] == "UDP           not tried, since no relay is known"
    asked = netcheck_lines(msgspec.structs.replace(NETCHECK, udp=UdpState.UNKNOWN))
    assert asked[0] == "UDP           unknown: nothing answered, the server over HTTP neither"


def test_a_websocket_that_does_not_get_through() -> None:
    found = Netcheck(udp=UdpState.WORKS, web=WebCheck(reachable=True, websocket=False, problem="a proxy refuses"))
    text = "\n".join(netcheck_lines(found))
    assert "does not work: a proxy refuses" in text
    assert "port mapping  none known" in text


def test_each_answer_is_a_line() -> None:
    assert pong_line(PONG) == "pong from host-2 (10.100.0.2): seq=1 time=1.5 ms via direct 192.0.2.3:51820"
    lost = msgspec.structs.replace(PONG, milliseconds=None, path=BY_RELAY)
    assert pong_line(lost) == "ping host-2 (10.100.0.2): seq=1 no answer via relay server"
    nowhere = msgspec.structs.replace(lost, problem="there is no route to it")
    assert pong_line(nowhere) == "ping host-2 (10.100.0.2): seq=1 there is no route to it"
    assert via(NO_PATH) == "without a known path"


def test_the_summary_tells_by_which_paths_answers_came() -> None:
    first = msgspec.structs.replace(PONG, path=BY_RELAY, milliseconds=10.0)
    lost = msgspec.structs.replace(first, milliseconds=None, path=NO_PATH)
    assert ping_summary([first, lost, PONG, first]) == [
        "4 sent, 3 answered, 25% lost",
        "round trip 1.5 / 7.2 / 10.0 ms (least, mean, most)",
        "paths: relay server, then direct 192.0.2.3:51820",
    ]
    assert ping_summary([lost]) == ["1 sent, 0 answered, 100% lost"]
    assert len(ping_summary([PONG])) == 2


def test_an_explanation_is_told_in_paragraphs() -> None:
    told = msgspec.structs.replace(EXPLANATION, ends=("this machine is here",), advice=("Do this.", "Or that."))
    assert explanation_lines(told) == [
        "So it is.",
        "so",
        "",
        "The two ends:",
        "  this machine is here",
        "",
        "What would help:",
        "  Do this.",
        "  Or that.",
    ]


def test_long_lines_are_folded_on_a_terminal() -> None:
    told = msgspec.structs.replace(EXPLANATION, why=(), advice=("Open UDP port 51820 in the firewall.",))
    assert explanation_lines(told, 24) == [
        "So it is.",
        "",
        "What would help:",
        "  Open UDP port 51820 in",
        "    the firewall.",
    ]


@pytest.mark.parametrize("nat", list(NatClass))
def test_every_nat_has_words(nat: NatClass) -> None:
    at = Endpoint.parse("192.0.2.1:1")
    found = Netcheck(udp=UdpState.UNKNOWN, nat=nat, port_mapping=PortMapping(protocol="upnp", endpoint=at))
    assert len(netcheck_lines(found)) == 9

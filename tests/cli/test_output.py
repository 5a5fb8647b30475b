import msgspec
import pytest

from tests.protocol.test_local import STATUS as JOINED
from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.cli.output import port_mapping, size, status_lines, table
from wireguard_mesh.model.devices import BackendKind
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.relays import OWN_RELAY, NatClass, RelayId
from wireguard_mesh.protocol.status import (
    ExitStatus,
    MapSource,
    MapStatus,
    NatStatus,
    PeerStatus,
    PortMapping,
    RelayStatus,
    ServerStatus,
    State,
    Status,
    Transport,
)

NOW = 1_000_000.0


def status_of(number: int, **fields: object) -> PeerStatus:
    one = peer(number)
    plain = PeerStatus(
        id=one.id,
        hostname=one.hostname,
        os=one.os,
        public_key=one.public_key,
        ipv4=one.ipv4,
        ipv6=one.ipv6,
        online=True,
    )
    return msgspec.structs.replace(plain, **fields)


def status(*peers: PeerStatus, **fields: object) -> Status:
    plain = Status(
        state=State.UP,
        interface=InterfaceName("wg0"),
        backend=BackendKind.KERNEL,
        mtu=1420,
        listen_port=51820,
        hostname="one",
        public_key=public_key(1),
        ipv4=peer(1).ipv4,
        ipv6=peer(1).ipv6,
        network=NETWORK,
        map=MapStatus(revision=7, head=7, lag=0, current=NOW - 3, source=MapSource.STREAM),
        server=ServerStatus(address="http://192.0.2.1:8080", reachable=True, since=NOW - 90, heartbeat=NOW - 12),
        peers=peers,
    )
    return msgspec.structs.replace(plain, **fields)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB"), (2**60, "1048576.0 TiB")],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


def test_table() -> None:
    assert table([["a", "bb"], ["ccc", ""]]) == ["a    bb", "ccc"]
    assert table([]) == []


def path(kind: PathKind, at: str | None = None, relay: str = "") -> PathReport:
    return PathReport(kind=kind, endpoint=Endpoint.parse(at) if at else None, relay=RelayId(relay) if relay else None)


def test_a_line_for_each_peer() -> None:
    peers = (
        status_of(
            2,
            path=path(PathKind.DIRECT, "192.0.2.3:51820"),
            allowed_ips=("x",),
            latest_handshake=NOW - 42,
            received_bytes=1536,
        ),
        status_of(3, path=path(PathKind.RELAY, "192.0.2.1:8080", "fra-1"), online=False),
        status_of(4, path=path(PathKind.NONE, "192.0.2.4:51820")),
        status_of(5, exit_node=True),
        status_of(6, online=False, os=""),
    )
    lines = [" ".join(line.split()) for line in status_lines(status(*peers), NOW)]
    assert lines[:6] == [
        "10.100.0.1 one this machine up",
        "10.100.0.2 host-2 linux direct 192.0.2.3:51820 handshake 42s ago rx 1.5 KiB, tx 0 B",
        "10.100.0.3 host-3 linux relay fra-1 not heard by the server",
        "10.100.0.4 host-4 linux no answer from 192.0.2.4:51820 -",
        "10.100.0.5 host-5 linux no path offers exit node",
        "10.100.0.6 host-6 - offline -",
    ]


def test_the_network_around_this_machine() -> None:
    at = Endpoint.parse("203.0.113.9:7")
    relays = (
        RelayStatus(id=OWN_RELAY, reachable=True, transport=Transport.UDP, milliseconds=12.34, pairs=2),
        RelayStatus(id=RelayId("fra-1"), reachable=True, transport=Transport.WEBSOCKET, pairs=1),
        RelayStatus(id=RelayId("sin-1")),
    )
    known = status(
        status_of(2, path=path(PathKind.DIRECT, "192.0.2.3:51820")),
        status_of(3, path=path(PathKind.RELAY, relay="server")),
        nat=NatStatus(kind=NatClass.EASY, reflexive=(at,), mapped=(at,)),
        port_mapping=PortMapping(protocol="pcp", endpoint=at),
        relays=relays,
    )
    text = "\n".join(status_lines(known, NOW))
    assert "peers      2, 2 of them online, 1 direct, 1 by relay\n" in text
    assert "nat        easy, heard from 203.0.113.9:7, the router forwards 203.0.113.9:7\n" in text
    assert "mapping    203.0.113.9:7, by pcp\n" in text
    assert (
        "relays     server by UDP, 12.3 ms, 2 peers by it; fra-1 by WebSocket, 1 peer by it; sin-1 not reached\n"
        in text
    )


@pytest.mark.parametrize(("kind", "shown"), [(NatClass.EASY, True), (NatClass.PUBLIC, False)])
def test_why_no_port_is_mapped_matters_behind_a_nat_only(kind: NatClass, shown: bool) -> None:
    known = status(nat=NatStatus(kind=kind), port_mapping=PortMapping(problem="no gateway"))
    assert ("mapping    no gateway" in status_lines(known, NOW)) is shown


@pytest.mark.parametrize(
    ("mapping", "text"),
    [(PortMapping(problem="the gateway refuses"), "the gateway refuses"), (PortMapping(), "the router maps none")],
)
def test_no_port_mapping(mapping: PortMapping, text: str) -> None:
    assert port_mapping(mapping) == text


def test_the_summary_of_a_mesh_that_is_up() -> None:
    gate = status_of(2, exit_node=True, exit_node_in_use=True)
    text = "\n".join(status_lines(status(gate), NOW))
    assert "kernel WireGuard, UDP port 51820, MTU 1420" in text
    assert "1, 1 of them online, 0 direct, 0 by relay" in text
    assert "http://192.0.2.1:8080, answering for 1m, last heartbeat 12s ago\n" in text
    assert "map        revision 7, current 3s ago, changes come by stream\n" in text
    assert "exit node  host-2, use-exit-node is auto" in text
    assert "exit node in use" in text


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (MapStatus(), "none yet"),
        (MapStatus(revision=7), "revision 7, of the last run, changes do not come now"),
        (
            MapStatus(revision=7, head=9, lag=2, current=NOW - 70, source=MapSource.POLLING, problem="nothing came"),
            (
                "revision 7, 2 behind the server, current 1m ago, "
                "changes are asked for now and then, since they do not come by stream: nothing came"
            ),
        ),
    ],
)
def test_the_map_is_told_apart(known: MapStatus, text: str) -> None:
    assert f"map        {text}\n" in "\n".join(status_lines(status(map=known), NOW))


def test_the_summary_of_trouble() -> None:
    server = ServerStatus(address="http://x:8080", since=NOW - 5, problem="no answer")
    text = "\n".join(
        status_lines(
            status(
                state=State.JOINING,
                server=server,
                network=None,
                ipv4=None,
                ipv6=None,
                backend=None,
                mtu=0,
                listen_port=0,
                problems=("the disk is full",),
                exit=ExitStatus(offered=True, policy="gate", problem="no peer is called gate"),
            ),
            NOW,
        )
    )
    assert "not answering for 5s: no answer" in text
    assert "problem    the disk is full" in text
    assert "none yet" in text
    assert "does not stand" in text
    assert "this machine is one, no peer is called gate" in text


def test_the_summary_without_an_agent() -> None:
    stopped = status(state=State.STOPPED, server=ServerStatus(address="http://x:8080"))
    text = "\n".join(status_lines(stopped, NOW))
    assert "stopped: no agent runs; start one with vpn-client up" in text
    assert "server     http://x:8080\n" in text


def test_a_machine_without_a_place_has_no_line_of_its_own() -> None:
    nobody = msgspec.structs.replace(JOINED, ipv4=None, ipv6=None, hostname="", peers=())
    assert "this machine" not in "\n".join(status_lines(nobody, 0.0))

import msgspec
import pytest

from tests.protocol.test_local import STATUS as JOINED
from tests.samples import NETWORK, peer, public_key
from wireguard_mesh.cli.output import age, size, status_lines, table
from wireguard_mesh.model.devices import BackendKind
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.protocol.status import ExitStatus, MapSource, MapStatus, PeerStatus, ServerStatus, State, Status

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


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (86400 * 3 + 5, "3d")]
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_table() -> None:
    assert table([["a", "bb"], ["ccc", ""]]) == ["a    bb", "ccc"]
    assert table([]) == []


def test_a_line_for_each_peer() -> None:
    live = status_of(
        2,
        active=True,
        endpoint=Endpoint.parse("192.0.2.3:51820"),
        allowed_ips=("x",),
        latest_handshake=NOW - 42,
        received_bytes=1536,
    )
    quiet = status_of(3, endpoint=Endpoint.parse("192.0.2.4:51820"), allowed_ips=("x",))
    nowhere = status_of(4, allowed_ips=("x",), exit_node=True)
    gone = status_of(5, online=False, os="")
    lines = status_lines(status(live, quiet, nowhere, gone), NOW)
    assert lines[0].split() == ["10.100.0.1", "one", "this", "machine", "up"]
    assert "online" in lines[1]
    assert "direct 192.0.2.3:51820, handshake 42s ago" in lines[1]
    assert lines[1].endswith("rx 1.5 KiB, tx 0 B")
    assert "no answer from 192.0.2.4:51820" in lines[2]
    assert "offers exit node, no endpoint known" in lines[3]
    assert lines[4].split() == ["10.100.0.5", "host-5", "-", "offline", "-"]


def test_the_summary_of_a_mesh_that_is_up() -> None:
    gate = status_of(2, exit_node=True, exit_node_in_use=True)
    text = "\n".join(status_lines(status(gate), NOW))
    assert "kernel WireGuard, UDP port 51820, MTU 1420" in text
    assert "1, 1 of them online, 0 with a live tunnel" in text
    assert "http://192.0.2.1:8080, answers since 1m, last heartbeat 12s ago\n" in text
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
    assert "does not answer since 5s: no answer" in text
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

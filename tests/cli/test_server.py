"""vpn-server as a process: what it prints, how it ends, and what a crash leaves."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.core.samples import private_key, public_key
from wireguard_mesh.cli import server
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.relays import OWN_RELAY, RelayId
from wireguard_mesh.protocol import api
from wireguard_mesh.protocol.relay_keys import RelayKey
from wireguard_mesh.protocol.signatures import Signer, make_nonce

COMMAND = [sys.executable, "-c", "from wireguard_mesh.cli.server import main; main()"]
START_SECONDS = 30
STOP_SECONDS = 5


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(folder), **variables}
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@dataclass
class Process:
    """A running vpn-server."""

    popen: subprocess.Popen[str]
    banner: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.banner[0].split(" (HTTP)")[0].rpartition(":")[2])

    def ask(self, method: str, path: str, message: Any = None) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, None if message is None else json.dumps(message))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def peers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/peers")[1]["peers"]
        return found


@contextmanager
def started(folder: Path, *arguments: str, listen: str = "127.0.0.1:0") -> Iterator[Process]:
    """A server until the end of the block, where it is killed if it still runs."""
    with subprocess.Popen(
        [*COMMAND, "-listen", listen, *arguments],
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as popen:
        process = Process(popen)
        try:
            process.banner = banner(popen)
            yield process
        finally:
            popen.kill()


def banner(popen: subprocess.Popen[str]) -> list[str]:
    assert popen.stdout is not None
    guard = threading.Timer(START_SECONDS, popen.kill)
    guard.start()
    lines: list[str] = []
    try:
        while not (lines and "vpn-client -server" in lines[-1]):
            line = popen.stdout.readline()
            assert line, f"vpn-server did not start: {lines} {popen.communicate()[1]}"
            lines.append(line.rstrip("\n"))
    finally:
        guard.cancel()
    return lines


def test_it_says_where_everything_is_and_how_to_join(tmp_path: Path) -> None:
    with started(tmp_path, "-network", "10.7.0.0/24") as process:
        text = "\n".join(process.banner)
        folder = tmp_path / ".config" / "wireguard-mesh"
        assert f"listening on 127.0.0.1:{process.port} (HTTP)" in text
        assert "Network:       10.7.0.0/24 and fd" in text
        assert f"Configuration: {folder / 'server.json'}" in text
        assert f"Database:      {folder / 'peers.db'}" in text
        assert "open: anyone who reaches this port can join" in text
        assert process.banner[-1] == f"  sudo vpn-client -server http://127.0.0.1:{process.port}"
        assert json.loads((folder / "server.json").read_text())["private_key"] not in text
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert set(modes.values()) == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700
        status = run(tmp_path, "--listen", f"127.0.0.1:{process.port}", "status")
        assert status.returncode == 0, status.stderr
        assert "network     10.7.0.0/24" in status.stdout
        assert "peers       0, 0 of them online, revision 1" in status.stdout  # its own relay
        ports = rf"{process.port} and {process.port + 1}"
        assert f"Relay:         UDP ports {ports}" in text
        assert re.search(rf"relay       server on UDP ports {ports}, (0 sessions, .*|down: .*)\n", status.stdout)


def test_a_server_that_relays_nothing_says_so(tmp_path: Path) -> None:
    with started(tmp_path, "-udp", "off") as process:
        assert "Relay:         off" in process.banner
        status = run(tmp_path, "--listen", f"127.0.0.1:{process.port}", "status")
        assert "relay       off: this server relays nothing" in status.stdout


def test_the_key_for_relays_stays_until_a_new_one_is_asked_for(tmp_path: Path) -> None:
    first, second = (run(tmp_path, "relay-key") for _ in range(2))
    assert first.stdout == second.stdout
    assert RelayKey.parse(first.stdout).to_text() == first.stdout.strip()
    new = run(tmp_path, "relay-key", "-new")
    assert new.stdout != first.stdout
    assert run(tmp_path, "relay-key").stdout == new.stdout
    file = tmp_path / ".config" / "wireguard-mesh" / "server.json"
    assert json.loads(file.read_text())["relay_key"] == new.stdout.strip()
    assert file.stat().st_mode & 0o777 == 0o600


def test_relays_are_listed_with_what_they_do() -> None:
    does = api.RelayCounters(sessions=2, routes=3, forwarded_packets=4, forwarded_bytes=5)
    own = api.RelayHealth(id=OWN_RELAY, up=False, ports=(1, 2), does=does)
    others = (api.RelaySummary(id=RelayId("fra-1"), does=does), api.RelaySummary(id=RelayId("nyc-1")))
    lines = server.relay_lines(own, (api.RelaySummary(id=OWN_RELAY), *others))
    assert lines == [
        "server on UDP ports 1 and 2, down: its process does not run",
        "fra-1: 2 sessions, 3 routes, 0 over TCP, 4 packets, 5 bytes relayed",
        "nyc-1: has told this server nothing yet",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-network", "8.8.8.0/24"], 1, "vpn-server: network: 8.8.8.0/24 is not private"),
        (["-listen", "nowhere"], 1, "vpn-server: listen: 'nowhere' is no address to listen on"),
        (["-udp", "maybe"], 1, "vpn-server: udp: 'maybe' is neither on nor off"),
        (["-relay-address", "a b"], 1, "vpn-server: relay-address: 'a b' is no name or address"),
        (["-relay-address", "no.invalid"], 1, "vpn-server: -relay-address: no.invalid has no address"),
        (["-listen", ":65535"], 1, "vpn-server: a relay needs a UDP port from 1 to 65534"),
        (["-db", "/proc/nowhere/peers.db"], 1, "vpn-server: cannot make the folder /proc/nowhere"),
        (["-config", "/proc/nowhere/server.json"], 1, "vpn-server: cannot write /proc/nowhere/server.json"),
        (["-listen", f"{'x' * 64}:8099"], 1, "vpn-server: 'xxx"),
        (["-listen", ".foo:8099"], 1, "vpn-server: '.foo' is no address or name of this machine"),
        (["-listen", ".foo:8099", "status"], 1, "vpn-server: no vpn-server answers on .foo:8099"),
        (["-config", "~no-such-user/x"], 1, "vpn-server: '~no-such-user/x' is no place for a file"),
        (["-unknown"], 2, "vpn-server: No such option"),
        (["-log-level", "loud"], 2, "vpn-server: Invalid value for '-log-level'"),
        (["surprise"], 2, "vpn-server: No such command 'surprise'"),
        (["-listen", "127.0.0.1:1", "status"], 1, "vpn-server: no vpn-server answers on 127.0.0.1:1"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == code
    assert done.stderr.startswith(says), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_port_in_use_and_a_second_server_are_said(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        second = run(tmp_path, "-listen", "127.0.0.1:0")
        expected = f"vpn-server: another vpn-server uses this database: pid {process.popen.pid}"
        assert (second.returncode, second.stderr.startswith(expected)) == (1, True), second.stderr
        other = run(tmp_path / "other", "-listen", f"127.0.0.1:{process.port}")
        assert other.returncode == 1
        assert other.stderr.startswith(f"vpn-server: port {process.port} is in use")


def test_a_damaged_configuration_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "server.json"
    file.write_text('{"private_key": "AAAA')
    done = run(tmp_path, "-config", str(file))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert file.read_text() == '{"private_key": "AAAA'


def test_settings_come_from_the_environment_too(tmp_path: Path) -> None:
    done = run(tmp_path, VPN_SERVER_NETWORK="1.1.1.0/24")
    assert done.stderr.startswith("vpn-server: network: 1.1.1.0/24 is not private")
    done = run(tmp_path, VPN_SERVER_LOG_LEVEL="loud")
    assert (done.returncode, done.stderr.startswith("vpn-server: log-level is one of")) == (2, True)


@pytest.mark.parametrize("flag", ["-help", "--help", "-version", "--version"])
def test_help_and_version(tmp_path: Path, flag: str) -> None:
    done = run(tmp_path, flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert "vpn-server" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "2>&-", "<&- >&- 2>&-", "> >(exit 0)"])
def test_it_serves_whoever_reads_what_it_prints(tmp_path: Path, redirection: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    command = ["bash", "-c", f'exec "$@" {redirection}', "x", *COMMAND, "-listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        command, env={**os.environ, "HOME": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as popen:
        try:
            for _ in range(START_SECONDS * 10):
                if run(tmp_path, "-listen", f"127.0.0.1:{port}", "status").returncode == 0:
                    break
            popen.send_signal(signal.SIGTERM)
            _, errors = popen.communicate(timeout=30)
        finally:
            popen.kill()
    assert popen.returncode == 0, errors
    assert "Traceback" not in errors


def test_a_damaged_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text("[" * 200_000)
    done = run(tmp_path, "-listen", "127.0.0.1:0", "-db", str(path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("answer", [b"404 Not Found\r\ncontent-length: 2\r\n\r\n{}", b"200 OK\r\n\r\n{}"])
def test_status_of_something_else_is_told_apart(tmp_path: Path, answer: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with closing(connection):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 " + answer)

        thread = threading.Thread(target=serve)
        thread.start()
        done = run(tmp_path, "-listen", f":{port}", "status")
        thread.join()
    assert (done.returncode, done.stderr.strip()) == (
        1,
        (
            f"vpn-server: what answers on 127.0.0.1:{port} is no vpn-server; "
            "say which one: vpn-server -listen ADDRESS status"
        ),
    )


def following(port: int, server: dict[str, Any]) -> http.client.HTTPResponse:
    """The stream of a new peer's map."""
    signer = Signer(private_key(1), PublicKey.from_base64(server["server_public_key"]))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(method: str, target: str, body: bytes) -> None:
        headers = signer.sign(
            method, target, body, now=time.time(), nonce=make_nonce(server["instance"], os.urandom(16).hex())
        )
        connection.request(method, target, body, headers)

    send("POST", "/v1/register", b'{"hostname":"a"}')
    connection.getresponse().read()
    send("GET", "/v1/map/stream", b"")
    return connection.getresponse()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_and_soon(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as process:
        _, server = process.ask("GET", "/v1/server")
        stream = following(process.port, server)
        # A connection that stays open, and one that never finishes its request.
        idle = http.client.HTTPConnection("127.0.0.1", process.port)
        idle.request("GET", "/peers")
        idle.getresponse().read()
        slow = socket.create_connection(("127.0.0.1", process.port))
        slow.sendall(b"POST /register HTTP/1.1\r\ncontent-length: 10\r\n\r\n{")
        process.popen.send_signal(number)
        assert b"event:current" in stream.read()  # to its proper end
        assert process.popen.wait(STOP_SECONDS) == 0
        assert process.popen.stderr is not None
        (joined,) = process.popen.stderr.read().splitlines()
        assert "INFO peer joined" in joined
        idle.close()
        slow.close()
    assert not (tmp_path / ".config/wireguard-mesh/peers.db-wal").exists()


# --- crashes ------------------------------------------------------------------------------------------------------


CONNECTIONS = 32
REGISTRATIONS = 300
KILL_AFTER = 100
TURNS = 3


@dataclass
class Ledger:
    """What was acknowledged, of any number of threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)
    enough: threading.Event = field(default_factory=threading.Event)

    def note(self, key: str, answer: dict[str, Any], target: int) -> None:
        with self.lock:
            self.acknowledged[key] = (answer["peer_id"], answer["assigned_ip"])
            if len(self.acknowledged) >= target:
                self.enough.set()


def register_until_killed(port: int, keys: Iterator[int], ledger: Ledger, target: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while True:
            with ledger.lock:
                seed = next(keys, None)
            if seed is None:
                return
            key = public_key(seed).to_base64()
            try:
                connection.request("POST", "/register", json.dumps({"public_key": key}))
                answer = connection.getresponse()
                body = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                return
            assert answer.status == 200, body
            ledger.note(key, body, target)


@pytest.mark.slow
def test_no_acknowledged_registration_is_lost_and_no_address_given_twice(tmp_path: Path) -> None:
    ledger = Ledger()
    for turn in range(TURNS):
        with started(tmp_path, "-log-level", "warning") as process:  # nobody reads its log here
            check(process.peers(), ledger.acknowledged)
            target = len(ledger.acknowledged) + KILL_AFTER
            ledger.enough.clear()
            keys = iter(range(turn * REGISTRATIONS + 1, (turn + 1) * REGISTRATIONS + 1))
            threads = [
                threading.Thread(target=register_until_killed, args=(process.port, keys, ledger, target))
                for _ in range(CONNECTIONS)
            ]
            for thread in threads:
                thread.start()
            assert ledger.enough.wait(60)
            process.popen.kill()
            for thread in threads:
                thread.join()
    with started(tmp_path, "-log-level", "warning") as process:
        check(process.peers(), ledger.acknowledged)
        for key, known in list(ledger.acknowledged.items())[:10]:
            _, again = process.ask("POST", "/register", {"public_key": key})
            assert (again["peer_id"], again["assigned_ip"]) == known


def check(peers: list[dict[str, Any]], acknowledged: dict[str, tuple[str, str]]) -> None:
    addresses = [peer["virtual_ip"] for peer in peers]
    assert len(set(addresses)) == len(addresses)
    assert len({peer["id"] for peer in peers}) == len(peers)
    numbers = sorted(int(IPv4Address(address)) - int(IPv4Address("10.100.0.0")) for address in addresses)
    assert numbers == list(range(1, len(peers) + 1))  # lowest first, without gaps
    standing = {peer["public_key"]: (peer["id"], peer["virtual_ip"]) for peer in peers}
    assert {key: standing.get(key) for key in acknowledged} == acknowledged

"""The command line of `vpn-relay`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wireguard_mesh.cli.relay import without_key
from wireguard_mesh.protocol.relay_keys import RelayKey

KEY = RelayKey(bytes(range(32))).to_text()


def run(home: Path, *arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from wireguard_mesh.cli.entry import vpn_relay; vpn_relay()", *arguments],
        env={"HOME": str(home), "PATH": os.environ["PATH"], **environment},
        input=text,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that it ended with."""
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "vpn-relay: no server is known yet; say which: vpn-relay -server http://SERVER:8080"),
        (
            ("-server", "http://192.0.2.1:8080"),
            "vpn-relay: no relay key is known yet; 'vpn-server relay-key' prints it",
        ),
        (("-server", "ftp://x"), "the server's address starts with http://"),
        (("-listen", "8080"), "vpn-relay: '8080' is no address to listen on; write it as :8080"),
        (("-name", "Not a name"), "a relay's name has a-z"),
        (("-address", "relay.invalid"), "is no address, and no name that has one"),
        (("-key", "wrong"), "vpn-relay: that is no relay key; 'vpn-server relay-key' prints it"),
        (("-key", KEY, "-key-file", "x"), "vpn-relay: the relay key is given twice"),
        (("-key-file", "/none"), "vpn-relay: /none cannot be read (No such file or directory)"),
        (("-nonsense",), "vpn-relay: No such option '-nonsense'"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    assert says in complaint(run(tmp_path, *arguments))
    assert not list(tmp_path.rglob("relay.json"))


def test_a_port_in_use_is_said_and_the_key_came_from_a_file(tmp_path: Path) -> None:
    done = run(
        tmp_path, "-server", "http://127.0.0.1:9", "-key-file", "-", "-listen", "127.0.0.1:65535", text=f"{KEY}\n"
    )
    assert "a relay needs a UDP port from 1 to 65534" in complaint(done)
    (identity,) = tmp_path.rglob("relay.json")
    assert KEY in identity.read_text()
    again = run(tmp_path, "-listen", "127.0.0.1:65535")
    assert "a relay needs a UDP port" in complaint(again)


def test_a_key_among_the_flags_is_kept_and_the_program_begins_anew_without_it(tmp_path: Path) -> None:
    done = run(tmp_path, "-server", "http://127.0.0.1:9", "-key", KEY, "-listen", "127.0.0.1:65535")
    assert "a relay needs a UDP port" in complaint(done)
    assert KEY in next(tmp_path.rglob("relay.json")).read_text()


def test_the_environment_serves_as_flags_do(tmp_path: Path) -> None:
    done = run(tmp_path, VPN_RELAY_SERVER="http://127.0.0.1:9", VPN_RELAY_KEY=KEY, VPN_RELAY_LISTEN="127.0.0.1:65535")
    assert "a relay needs a UDP port" in complaint(done)


def test_an_identity_in_use_is_said(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "wireguard-mesh"
    folder.mkdir(parents=True)
    holder = (
        "import fcntl, subprocess, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "sys.exit(subprocess.run(sys.argv[2:]).returncode)"
    )
    program = [sys.executable, "-c", "from wireguard_mesh.cli.entry import vpn_relay; vpn_relay()"]
    done = subprocess.run(
        [sys.executable, "-c", holder, str(folder / "relay.lock"), *program],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert "runs already" in complaint(done)
    assert "stop it first" in done.stderr


def test_help_names_each_flag(tmp_path: Path) -> None:
    done = run(tmp_path, "-help")
    assert done.returncode == 0
    for flag in ("-server", "-key", "-key-file", "-name", "-listen", "-address", "-config", "-log-level"):
        assert f" {flag}, -{flag} " in done.stdout


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["vpn-relay", "-key", "k", "-name", "x"], ["vpn-relay", "-name", "x"]),
        (["vpn-relay", "--key=k", "-key-file", "f"], ["vpn-relay", "-key-file", "f"]),
        (["vpn-relay", "-key=k", "--key", "l"], ["vpn-relay"]),
        (["vpn-relay", "-name", "x"], ["vpn-relay", "-name", "x"]),
    ],
)
def test_the_key_is_taken_out_of_the_command_line(words: list[str], kept: list[str]) -> None:
    assert without_key(words) == kept

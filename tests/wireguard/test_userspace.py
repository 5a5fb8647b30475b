"""wireguard-go on machines of the lab."""

import os
import sys
from pathlib import Path

import pytest

from lab.lab import Lab
from lab.machine import ROOT
from wireguard_mesh.model.errors import NotPermitted, Unavailable, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.wireguard import userspace
from wireguard_mesh.wireguard.userspace import UserspaceBackend, check_machine

WG0 = InterfaceName("wg0")
PATH = {"PYTHONPATH": str(ROOT)}

START = """
import asyncio
from tests.samples import private_key
from wireguard_mesh.model.devices import DeviceChange
from wireguard_mesh.wireguard.userspace import UserspaceBackend
async def main():
    backend = UserspaceBackend()
    await backend.create("wg0", 1380)
    await backend.apply("wg0", DeviceChange(private_key=private_key(1), listen_port=51820))
    await backend.close()
asyncio.run(main())
"""
REMOVE = """
import asyncio
from wireguard_mesh.wireguard.userspace import UserspaceBackend
asyncio.run(UserspaceBackend().remove("wg0"))
"""


@pytest.mark.lab
@pytest.mark.slow
def test_contract(lab: Lab) -> None:
    host = lab.host("one")
    host.run(sys.executable, "-m", "tests.wireguard.contract", "userspace", env=PATH, timeout=60)
    assert not host.processes("wireguard-go")


@pytest.mark.lab
def test_the_program_outlives_its_starter_with_nothing_of_it(lab: Lab) -> None:
    host = lab.host("one")
    host.run(sys.executable, "-c", START, env={**PATH, "LOG_LEVEL": "verbose", "WG_PROCESS_FOREGROUND": "1"})
    ((pid, command),) = host.processes("wireguard-go").items()
    assert command[1:] == ["wg0"]
    assert os.getsid(pid) not in (pid, os.getsid(0)), "its session is its starter's, which is over"
    open_files = {path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    assert not any(str(path).endswith((".log", ".err", ".in")) for path in open_files), open_files
    devices = {Path(f"/proc/{pid}/fd/{number}").stat().st_rdev for number in range(3)}
    assert devices == {Path("/dev/null").stat().st_rdev}
    assert "51820" in host.run("wg", "show", "wg0", "listen-port").stdout
    assert "mtu 1380" in host.run("ip", "link", "show", "wg0").stdout
    host.run(sys.executable, "-c", REMOVE, env=PATH)
    assert not host.processes("wireguard-go")
    assert not host.path("/run/wireguard/wg0.sock").exists()


@pytest.mark.lab
def test_a_socket_left_by_a_killed_program_is_no_obstacle(lab: Lab) -> None:
    host = lab.host("one")
    host.run(sys.executable, "-c", START, env=PATH)
    assert host.kill("wireguard-go") == 1
    host.run(sys.executable, "-c", REMOVE, env=PATH)
    assert not host.path("/run/wireguard/wg0.sock").exists()
    for _ in range(2):
        host.run(sys.executable, "-c", START, env=PATH)
        assert host.kill("wireguard-go") == 1
    assert host.path("/run/wireguard/wg0.sock").exists()


def test_without_the_program_it_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unsupported, match="apt-get install wireguard-go"):
        check_machine()


def test_without_the_tun_device_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="modprobe tun"):
        check_machine(tmp_path / "tun")


def test_a_tun_device_that_may_not_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(NotPermitted, match="run as root"):
        check_machine()


async def test_a_program_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "wireguard-go"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(userspace, "check_machine", lambda: str(program))
    with pytest.raises((Unsupported, NotPermitted), match="wg-none"):
        await UserspaceBackend(tmp_path).create(InterfaceName("wg-none"), 1420)


async def test_a_program_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "wireguard-go"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(userspace, "check_machine", lambda: str(program))
    monkeypatch.setattr(userspace, "START_TIMEOUT", 0.1)
    with pytest.raises(Unavailable, match="within"):
        await UserspaceBackend(tmp_path).create(InterfaceName("wg-none"), 1420)

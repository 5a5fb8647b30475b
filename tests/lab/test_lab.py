"""A lab leaves nothing behind, however it ends, and keeps what is needed to see why it failed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from lab import Lab, LabError

pytestmark = pytest.mark.lab

_ROOT = Path(__file__).resolve().parent.parent.parent
_GONE_TIMEOUT = 10.0  # seconds
_HOLDER = """
import sys, time
from lab import Lab
with Lab() as lab:
    host = lab.host("a", lab.switch("lan", "192.0.2.0/24"))
    host.run("wireguard-go", "wg0")           # forks away, and is nobody's child
    host.start("sh", "-c", "trap '' TERM HUP INT; while :; do sleep 1; done")
    (daemon,) = host.processes("wireguard-go")
    print(lab.folder, daemon, host.machine.init, lab._fabric.init, flush=True)
    time.sleep(1000)
"""


def _references(inodes: set[int]) -> list[str]:
    """Every process, open file and mount that keeps one of these namespaces."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [*(process / "ns").iterdir(), *(process / "fd").iterdir()]
            mounts = (process / "mountinfo").read_text()
        except OSError:  # ended meanwhile, or not ours to look at
            continue
        found += [f"{process.name} mount {inode}" for inode in inodes if f"[{inode}]" in mounts]
        for link in links:
            try:
                if link.is_symlink() and link.readlink().name.rpartition(":")[2].strip("[]") in map(str, inodes):
                    found.append(str(link))
            except OSError:
                continue
    return found


def _namespaces(*pids: int) -> set[int]:
    kinds = ("net", "mnt", "pid", "uts")
    found = {Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for pid in pids for kind in kinds}
    return found - {Path(f"/proc/self/ns/{kind}").stat().st_ino for kind in kinds}


def _gone(inodes: set[int], pids: Iterable[int]) -> list[str]:
    """What is left of namespaces and processes; waits, since the kernel takes its time to end a process."""
    deadline = time.monotonic() + _GONE_TIMEOUT
    while True:
        processes = [f"process {pid}" for pid in pids if Path(f"/proc/{pid}").exists()]
        left = [*processes, *_references(inodes)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def test_nothing_is_left_after_the_owner_was_killed() -> None:
    before = subprocess.run(["ip", "-brief", "link"], capture_output=True, check=True).stdout
    owner = subprocess.Popen([sys.executable, "-c", _HOLDER], cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner, owner.stdout as lines:
        folder, *numbers = lines.readline().split()
        pids = [int(number) for number in numbers]
        inodes = _namespaces(*pids)
        assert len(inodes) == 2 * 4  # of the host and of the fabric
        assert len(_references(inodes)) > len(pids)
        owner.kill()

    assert _gone(inodes, pids) == []
    assert Path(folder).exists()
    assert subprocess.run(["ip", "-brief", "link"], capture_output=True, check=True).stdout == before
    with Lab():
        assert not Path(folder).exists()


def test_nothing_is_left_after_the_end_of_the_block() -> None:
    with Lab() as lab:
        host = lab.host("a", lab.switch("lan", "192.0.2.0/24"))
        host.run("wireguard-go", "wg0")
        stopped = host.start("sleep", "1000")
        stopped.signal(signal.SIGSTOP)
        pids = [host.machine.init, *host.processes()]
        inodes = _namespaces(host.machine.init)
        folder = lab.folder
        assert folder.exists()
    assert _gone(inodes, pids) == []
    assert not folder.exists()
    assert stopped.returncode == -signal.SIGKILL


def test_a_lab_may_be_made_and_used_in_threads() -> None:
    answers: list[str] = []

    def ping(lab: Lab) -> None:
        lan = lab.switch("lan", "192.0.2.0/24")
        a, b = lab.host("a", lan), lab.host("b", lan)
        threading.Thread(target=lambda: answers.append(a.run("ping", "-c1", b.ipv4).stdout)).start()

    network = Path("/proc/self/ns/net").readlink()
    with Lab() as lab:
        maker = threading.Thread(target=ping, args=(lab,))
        maker.start()
        maker.join()
        deadline = time.monotonic() + _GONE_TIMEOUT
        while not answers and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "1 received" in answers[0]
    assert Path("/proc/thread-self/ns/net").readlink() == network


def _fail_in_a_lab() -> float:
    with Lab("some test") as lab:
        host = lab.host("a", lab.switch("lan", "192.0.2.0/24"))
        host.run("echo", "one")
        host.start("sh", "-c", "echo two; exec sleep 1000").wait_for("two")
        return 1 / 0


def test_output_is_kept_when_the_block_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_LOGS", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        _fail_in_a_lab()
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("some-test-")
    assert str(kept) in capsys.readouterr().out
    assert (kept / "a/001-echo.log").read_text() == "one\n"
    assert (kept / "a/002-sh.log").read_text() == "two\n"
    assert (kept / "a/commands").read_text() == "001 echo one\n002 sh -c 'echo two; exec sleep 1000'\n"
    state = (kept / "a/state").read_text()
    assert "192.0.2.1/24" in state
    assert "sleep 1000" in state


def test_nothing_is_kept_of_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_LOGS", str(tmp_path))
    with Lab() as lab:
        lab.host("a").run("true")
    assert list(tmp_path.iterdir()) == []


def test_without_root_the_error_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="must run as root"):
        Lab()

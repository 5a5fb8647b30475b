"""Programs in hosts."""

import os
import re
import signal
from pathlib import Path

import pytest

from lab import Lab, LabError

pytestmark = pytest.mark.lab


def test_pid_is_the_programs_own(lab: Lab) -> None:
    host = lab.host("a")
    process = host.start("sh", "-c", "echo up; exec sleep 1000")
    process.wait_for("up")
    assert process.running
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert re.search(r"^Name:\s+(sh|sleep)$", status, re.MULTILINE)
    assert process.pid in host.processes()

    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert host.processes() == {}


def test_output_of_both_kinds_is_awaited_and_kept(lab: Lab) -> None:
    process = lab.host("a").start("sh", "-c", "echo port 8080; echo oops >&2; sleep 1000")
    found = process.wait_for(r"^port (\d+)$")
    assert found[1] == "8080"
    process.wait_for("^oops$", after=found.end())
    assert process.output() == "port 8080\noops\n"
    assert process.terminate() == -signal.SIGTERM


def test_waiting_in_vain_says_what_the_program_said(lab: Lab) -> None:
    host = lab.host("a")
    ended = host.start("sh", "-c", "echo cannot bind; exit 3")
    with pytest.raises(LabError, match=r"ended with 3 before it wrote 'ready'; its output:\ncannot bind"):
        ended.wait_for("ready")
    silent = host.start("sleep", "1000")
    with pytest.raises(LabError, match=r"did not write 'ready' within 0\.1 s"):
        silent.wait_for("ready", timeout=0.1)
    with pytest.raises(LabError, match=r"did not end within 0\.1 s"):
        silent.wait(timeout=0.1)
    silent.kill()
    assert silent.returncode == -signal.SIGKILL


def test_a_stopped_program_goes_on(lab: Lab) -> None:
    process = lab.host("a").start(
        "sh", "-c", "trap 'echo stopping; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    )
    process.wait_for("up")
    process.signal(signal.SIGSTOP)
    assert process.running
    process.signal(signal.SIGCONT)
    assert process.terminate() == 0
    assert process.output().endswith("stopping\n")


def test_run_returns_output_or_raises_with_it(lab: Lab) -> None:
    host = lab.host("a")
    done = host.run("sh", "-c", "cat; echo err >&2; exit 4", check=False, text="given\n")
    assert (done.returncode, done.stdout, done.stderr) == (4, "given\n", "err\n")
    with pytest.raises(LabError, match=r"(?s)a: sh -c .* ended with 4\nout\nerr"):
        host.run("sh", "-c", "echo out; echo err >&2; exit 4")
    with pytest.raises(LabError, match=r"(?s)took longer than 0\.2 s\nhalf"):
        host.run("sh", "-c", "echo half; exec sleep 1000", timeout=0.2)
    with pytest.raises(LabError, match="no-such-program"):
        host.run("no-such-program")


def test_run_does_not_wait_for_a_daemon_left_behind(lab: Lab) -> None:
    host = lab.host("a")
    host.run("sh", "-c", "sleep 1000 & until pidof sleep; do :; done", timeout=5)
    assert len(host.processes("sleep")) == 1
    assert host.kill("sleep") == 1

"""The runner, against a program that behaves as the kernel does, so that no kernel has to be built."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.kernel import KernelError
from lab.kernel.guest import Boot
from lab.kernel.run import memory_folder, run_inside

_ROOT = Path(__file__).resolve().parent.parent.parent
# Takes the kernel's arguments, and does what init.sh does. BEHAVE is replaced.
_KERNEL = """#!/bin/sh
for argument; do case "$argument" in vm_*) eval "${argument%%=*}='${argument#*=}'" ;; esac; done
echo "booting"
BEHAVE
"""
_GOOD = """
echo "[vm $vm_nonce started]"
status=0; sh "$vm_command" || status=$?
echo "[vm $vm_nonce ended $status]"
echo "reboot: Power down"
"""
_DEADLINE = 10.0


def _kernel(folder: Path, behave: str) -> Path:
    path = folder / "linux"
    path.write_text(_KERNEL.replace("BEHAVE", behave))
    path.chmod(0o755)
    return path


def _run(kernel: Path, *command: str, timeout: float = 20) -> tuple[int, bytes]:
    shown: list[bytes] = []
    status = run_inside(kernel, command, time_travel=False, timeout=timeout, show=shown.append)
    return status, b"".join(shown)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_output_and_status_are_the_commands_and_nothing_is_left(tmp_path: Path, temporary: Path) -> None:
    assert _run(_kernel(tmp_path, _GOOD), "sh", "-c", "pwd; echo 'a b' >&2; exit 7") == (
        7,
        f"{Path.cwd()}\na b\n".encode(),
    )
    assert list(temporary.iterdir()) == []


def test_output_is_shown_while_the_command_runs(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def answer(chunk: bytes) -> None:
        if b"ready" in chunk:
            fifo.write_text("go")  # the command waits for it

    kernel = _kernel(tmp_path, _GOOD)
    command = ["sh", "-c", f"echo ready; read line <{fifo}; exit 4"]
    assert run_inside(kernel, command, time_travel=False, timeout=20, show=answer) == 4


def test_a_kernel_that_does_not_boot_is_quoted(tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(KernelError, match=r"^the test kernel did not boot: booting / Kernel panic: no root$"):
        _run(_kernel(tmp_path, "echo 'Kernel panic: no root'; exit 1"), "true")
    assert list(temporary.iterdir()) == []


def test_a_kernel_that_dies_is_an_error_and_its_words_are_shown(tmp_path: Path) -> None:
    shown: list[bytes] = []
    kernel = _kernel(tmp_path, 'echo "[vm $vm_nonce started]"; printf "Oops ["; exit 0')
    with pytest.raises(KernelError, match="died"):
        run_inside(kernel, ["true"], time_travel=False, timeout=20, show=shown.append)
    assert b"".join(shown) == b"Oops ["


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(KernelError, match=r"not done after 0\.5 s"):
        _run(_kernel(tmp_path, _GOOD), "sleep", "1000", timeout=0.5)
    assert list(temporary.iterdir()) == []


def test_a_kernel_that_is_slow_to_power_off_does_not_change_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.kernel.run._POWER_OFF_SECONDS", 0.1)
    assert _run(_kernel(tmp_path, _GOOD + "sleep 1000"), "false") == (1, b"")


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="without root the kernel's own processes are not isolated")
def test_nothing_outlives_a_killed_runner(tmp_path: Path) -> None:
    kernel = _kernel(tmp_path, _GOOD)
    code = (
        "import sys; from pathlib import Path; from lab.kernel.run import run_inside; "
        f"run_inside(Path({str(kernel)!r}), ['sh', '-c', 'setsid sleep 1000 & echo up; wait'], "
        "time_travel=False, timeout=60, show=lambda c: print(c, flush=True))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "MARK_OF_THIS_TEST": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT, stdout=subprocess.PIPE, env=environment) as runner:
        assert runner.stdout is not None
        assert b"up" in runner.stdout.readline()
        assert _processes_naming(tmp_path)
        runner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + _DEADLINE
    while _processes_naming(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _processes_naming(tmp_path) == []


def _processes_naming(folder: Path) -> list[str]:
    """Processes, but this one, with the folder in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and str(folder).encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:  # ended meanwhile
            continue
    return found


def test_memory_is_not_put_where_it_has_no_room(tmp_path: Path) -> None:
    boot = Boot(Path("/k"), tmp_path, "abc", 1 << 40, time_travel=False)
    assert memory_folder(boot) == str(tmp_path)

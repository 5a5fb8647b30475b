"""The programs' first moments."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wireguard_mesh.cli import entry

PROGRAMS = ("vpn_server", "vpn_client")
# Stands in for a module whose import takes long: it is interrupted in the midst of it.
SLOW = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(30)\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_while_it_imports_ends_it_without_a_traceback(program: str, tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text(SLOW)
    done = subprocess.run(
        [sys.executable, "-c", f"from wireguard_mesh.cli import entry; entry.{program}()"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout, done.stderr) == (entry.INTERRUPTED, "", "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_runs_the_program(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from wireguard_mesh.cli import entry; entry.{program}()", "-version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert program.replace("_", "-") in done.stdout

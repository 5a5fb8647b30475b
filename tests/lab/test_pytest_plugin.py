"""The fixture keeps logs of failed tests, and never skips in silence."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent.parent
_TESTS = """
from lab.pytest_plugin import lab, pytest_runtest_makereport

def test_passes(lab):
    lab.host("a").run("echo", "fine")

def test_fails(lab):
    lab.host("a").run("echo", "broken")
    assert False
"""


def _run(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    # A configuration of its own, so that these tests are run by what they say and nothing else.
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {_ROOT}\n")
    (folder / "conftest.py").write_text(_TESTS.split("\n\n")[0])
    (folder / "test_it.py").write_text(_TESTS)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "test_it.py"],
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LAB_LOGS": str(folder / "logs"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.lab
def test_logs_of_the_failed_test_alone_are_kept(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert "1 failed, 1 passed" in done.stdout
    (kept,) = (tmp_path / "logs").iterdir()
    assert kept.name.startswith("test_fails-")
    assert (kept / "a/001-echo.log").read_text() == "broken\n"
    assert str(kept) in done.stdout


def test_lab_off_skips_and_says_so(tmp_path: Path) -> None:
    done = _run(tmp_path, LAB="off")
    assert "2 skipped" in done.stdout
    assert "LAB=off" in done.stdout


def test_without_root_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lab import pytest_plugin

    monkeypatch.delenv("LAB", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(pytest.fail.Exception, match="run it as root, or skip all such with LAB=off"):
        pytest_plugin.require_lab()

"""What `make demo` shows is so, and nothing of it is left."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab.sweep import PREFIX

pytestmark = [pytest.mark.lab, pytest.mark.slow]

_ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_demonstration() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "lab.demo"], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        said, _ = demo.communicate()
    assert demo.returncode == 0, said
    easy, hard = said.index("behind an easy NAT"), said.index("behind hard NATs")
    assert "pong from hal" in said[easy:hard]
    assert "via direct 192.0.2." in said[easy:hard]
    assert "via relay server" in said[hard:]
    assert "Both ends are behind hard NATs" in said[hard:]
    assert "Everything is stopped and removed" in said
    assert not list(Path(tempfile.gettempdir()).glob(f"{PREFIX}-*-{demo.pid}-*"))

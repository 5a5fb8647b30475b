"""The setup scripts: what they say and do on machines that lack something."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALLER = ROOT / "scripts" / "install-system-packages"
TOOLS = ("bash", "id", "mktemp", "mkdir", "rm", "cat")


def programs(folder: Path, **scripts: str) -> Path:
    """A folder for PATH that holds the tools every script needs and the given ones, and nothing else."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    for name, body in scripts.items():
        path = folder / name.replace("_", "-")
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    return folder


def install(tmp_path: Path, listed: str, path: Path) -> subprocess.CompletedProcess[str]:
    packages = tmp_path / "list.txt"
    packages.write_text(listed)
    return subprocess.run(
        ["/bin/bash", str(INSTALLER), str(packages)],
        env={"PATH": str(path), "CREATECLUSTER_D": str(tmp_path / "createcluster.d")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )


MISSING = "# a comment\n\nno-such-package no-such-command\n"


def test_nothing_missing_needs_neither_root_nor_apt(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", id="echo 1000", apt_get="exit 1")
    done = install(tmp_path, "bash bash\n", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_apt_one_line_names_the_packages(tmp_path: Path) -> None:
    done = install(tmp_path, MISSING, programs(tmp_path / "bin"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "setup: install what these Debian packages hold, then run this again: no-such-package"
    ]


def test_without_root_one_line_gives_the_command(tmp_path: Path) -> None:
    done = install(tmp_path, MISSING, programs(tmp_path / "bin", id="echo 1000", apt_get="exit 1"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "setup: missing packages; run: sudo apt-get install --no-install-recommends no-such-package"
    ]


def test_stale_package_lists_are_fetched_once_and_recommended_packages_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    apt = f'echo "$DEBIAN_FRONTEND $*" >>{log}; case $1 in update) touch {log}.fresh ;; *) [ -e {log}.fresh ] ;; esac'
    apt = apt.replace("touch ", ": >")  # touch is not on this PATH
    done = install(tmp_path, MISSING, programs(tmp_path / "bin", id="echo 0", apt_get=apt))
    assert (done.returncode, done.stderr) == (0, "")
    calls = log.read_text().splitlines()
    assert [call.split()[1] for call in calls] == ["install", "update", "install"]
    assert all("--no-install-recommends" in call for call in calls if " install " in call)
    assert all(call.startswith("noninteractive ") for call in calls)


def test_postgresql_comes_without_a_database_server_of_its_own(tmp_path: Path) -> None:
    told = tmp_path / "createcluster.d" / "wireguard-mesh.conf"
    tools = programs(tmp_path / "bin", id="echo 0", apt_get=f"cat {told} >{tmp_path}/log")
    done = install(tmp_path, "postgresql no-such-command\n", tools)
    assert done.returncode == 0
    assert (tmp_path / "log").read_text() == "create_main_cluster = false\n"
    assert not told.exists()  # what is installed later is the administrator's
    assert install(tmp_path, MISSING, tools).returncode == 1  # others need no such thing: there is nothing to show


def test_what_apt_says_is_shown_when_it_fails(tmp_path: Path) -> None:
    apt = "echo no route to mirror >&2; exit 100"
    done = install(tmp_path, MISSING, programs(tmp_path / "bin", id="echo 0", apt_get=apt))
    assert done.returncode == 1
    assert "no route to mirror" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("setup: apt-get could not install no-such-package")


@pytest.mark.parametrize("python", ["no-such-python", "/bin/false"])
def test_without_a_fitting_python_one_line_says_how_to_name_one(tmp_path: Path, python: str) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "make-venv").write_bytes((ROOT / "scripts" / "make-venv").read_bytes())
    done = subprocess.run(
        ["/bin/bash", str(scripts / "make-venv")],
        env=os.environ | {"PYTHON": python},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"setup: no Python >= 3.11 found (looked for {python}); name one with PYTHON=/path/to/python"
    ]
    assert not (tmp_path / ".venv").exists()

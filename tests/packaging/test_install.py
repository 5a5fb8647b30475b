"""make install and make uninstall, below a folder: what install puts, uninstall removes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("vpn-server", "vpn-client", "vpn-relay")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of packaging/ beside stand-ins for the built programs, as after make build."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "packaging", source / "packaging")
    (source / "bin").mkdir()
    for program in PROGRAMS:
        path = source / "bin" / program
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return source


def run(source: Path, verb: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(source / "packaging" / "install.sh"), verb],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_install_puts_programs_and_units_and_uninstall_removes_them(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    theirs = root / "etc" / "systemd" / "system" / "theirs.service"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("")
    assert run(source, "install", DESTDIR=str(root), PREFIX="/opt/mesh").returncode == 0
    assert files(root) == {
        "etc/systemd/system/theirs.service",
        *(f"opt/mesh/bin/{program}" for program in PROGRAMS),
        *(f"etc/systemd/system/{program}.service" for program in PROGRAMS),
    }
    assert run(source, "uninstall", DESTDIR=str(root), PREFIX="/opt/mesh").returncode == 0
    assert files(root) == {"etc/systemd/system/theirs.service"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_installed_unit_starts_the_installed_program(source: Path, tmp_path: Path, program: str) -> None:
    run(source, "install", DESTDIR=str(tmp_path / "root"), PREFIX="/opt/mesh")
    unit = (tmp_path / "root" / "etc" / "systemd" / "system" / f"{program}.service").read_text()
    assert f"\nExecStart=/opt/mesh/bin/{program}\n" in unit
    assert "/usr/local" not in unit


def test_installing_twice_and_uninstalling_twice_is_fine(source: Path, tmp_path: Path) -> None:
    verbs = ("install", "install", "uninstall", "uninstall")
    assert [run(source, verb, DESTDIR=str(tmp_path / "root")).returncode for verb in verbs] == [0, 0, 0, 0]


def test_without_built_programs_nothing_is_installed(source: Path, tmp_path: Path) -> None:
    (source / "bin" / "vpn-client").unlink()
    done = run(source, "install", DESTDIR=str(tmp_path / "root"))
    assert done.returncode == 1
    assert done.stderr == "install: bin/vpn-client is missing; run: make build\n"
    assert not (tmp_path / "root").exists()


def test_without_root_one_line_says_what_to_do(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "id").write_text("#!/bin/sh\necho 1000\n")
    (folder / "id").chmod(0o755)
    done = run(source, "install", DESTDIR="", PATH=f"{folder}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr == "install: run it as root (sudo make install), or set DESTDIR\n"

"""The single files of make build: they start under a Python that has none of their libraries."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wireguard_mesh import __version__

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("vpn-server", "vpn-client", "vpn-relay")
# Wheels for every Python are downloaded on the first build.
BUILD_SECONDS = 240

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_SECONDS + 60)]


def copy_sources(to: Path) -> None:
    """Copy what a build reads; the folder of downloaded wheels is shared, so that they are downloaded once."""
    for name in ("scripts", "src", "requirements"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to)
    (ROOT / "build" / "wheels").mkdir(parents=True, exist_ok=True)
    (to / "build").mkdir()
    (to / "build" / "wheels").symlink_to(ROOT / "build" / "wheels")


def build(source: Path, *programs: str) -> None:
    subprocess.run(
        [sys.executable, str(source / "scripts" / "build_single_files.py"), *programs],
        check=True,
        timeout=BUILD_SECONDS,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    copy_sources(folder)
    return folder


@pytest.fixture(scope="module")
def built(source: Path) -> Path:
    build(source)
    return source / "bin"


def start(program: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run it with the bare interpreter (-I, -S: no site-packages, no PYTHONPATH) and a home of its own."""
    python = Path(sys.base_prefix) / "bin" / "python3"
    return subprocess.run(
        [str(python), "-I", "-S", str(program), *arguments],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_says_its_version_and_its_help(built: Path, tmp_path: Path, program: str) -> None:
    version = start(built / program, "--version", home=tmp_path)
    assert (version.returncode, version.stderr) == (0, "")
    assert __version__ in version.stdout
    shown = start(built / program, "--help", home=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Usage" in shown.stdout


def test_it_unpacks_below_home_where_nobody_else_writes(built: Path, tmp_path: Path) -> None:
    start(built / "vpn-client", "--version", home=tmp_path)
    unpacked = [tmp_path / ".shiv", *(tmp_path / ".shiv").rglob("*")]
    assert len(unpacked) > 1
    for path in unpacked:
        about = path.lstat()
        assert about.st_uid == os.geteuid()
        assert not about.st_mode & stat.S_IWOTH, path


def test_the_client_carries_nothing_of_the_server(built: Path, tmp_path: Path) -> None:
    start(built / "vpn-client", "--version", home=tmp_path)
    (site,) = (tmp_path / ".shiv").glob("*/site-packages")
    carried = {path.name for path in site.iterdir()}
    assert {"msgspec", "h11", "cryptography"} <= carried
    assert carried.isdisjoint({"litestar", "sqlalchemy", "uvicorn", "alembic", "pytest"})


def test_the_same_sources_give_the_same_bytes_in_another_folder(source: Path, built: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "other", symlinks=True, ignore=shutil.ignore_patterns("bin", "site", "own"))
    build(tmp_path / "other", "client")
    assert (tmp_path / "other" / "bin" / "vpn-client").read_bytes() == (built / "vpn-client").read_bytes()

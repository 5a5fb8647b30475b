"""The check that a single file makes of the Python that runs it."""

import importlib.machinery
import runpy
from pathlib import Path

import pytest

from scripts import launch_check

THIS = importlib.machinery.EXTENSION_SUFFIXES[0]
OTHER = ".cpython-399-x86_64-linux-gnu.so"


def unpacked(folder: Path, *suffixes: str) -> Path:
    (folder / "msgspec").mkdir()
    for suffix in suffixes:
        (folder / "msgspec" / f"_core{suffix}").touch()
    return folder


def test_a_served_python_is_fine(tmp_path: Path) -> None:
    assert launch_check.complaint(unpacked(tmp_path, OTHER, THIS)) is None


def test_another_python_is_told_which_ones_are_served(tmp_path: Path) -> None:
    said = launch_check.complaint(unpacked(tmp_path, OTHER)) or ""
    assert said.startswith("made for cpython-399-x86_64-linux-gnu, but this is cpython-3")
    assert "make build" in said


def test_the_program_ends_with_one_line(tmp_path: Path) -> None:
    given = {"site_packages": unpacked(tmp_path, OTHER), "archive": "/usr/bin/vpn-client"}
    with pytest.raises(SystemExit, match=r"^vpn-client: made for "):
        runpy.run_path(launch_check.__file__, init_globals=given, run_name="__main__")

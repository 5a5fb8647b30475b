"""The repository's own rules, on paths and texts that break them and on ones that do not."""

import subprocess
from pathlib import Path, PurePosixPath

import pytest

from scripts import check_repository as check

# Put together here so that this file itself names no registry.
INDEX = "https://" + "py" + "pi.org/simple"


def paths(*names: str) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in names]


def test_lock_files_are_refused_in_any_folder() -> None:
    found = check.lock_files(paths("uv.lock", "bench/poetry.lock", "requirements/dev.txt"))
    assert [line.split(":")[0] for line in found] == ["uv.lock", "bench/poetry.lock"]


@pytest.mark.parametrize(
    "line", [f"see {INDEX}", "--extra-" + "index-url=x", "--" + "index-url x", "--" + "find-links=/wheels"]
)
def test_a_named_registry_is_refused_with_its_line(line: str) -> None:
    found = check.registry_names(PurePosixPath("a.txt"), f"first\n{line}\n")
    assert len(found) == 1
    assert found[0].startswith("a.txt:2: ")


def test_pins_with_hashes_are_fine() -> None:
    assert check.registry_names(PurePosixPath("r.txt"), "click==8.0 \\\n    --hash=sha256:00\n") == []


def test_a_source_file_wants_its_test_at_the_mirrored_place() -> None:
    source = "src/wireguard_mesh/core/ipam.py"
    assert check.missing_tests(paths(source, "tests/model/test_ipam.py")) == [
        f"{source}: has no tests/core/test_ipam.py"
    ]
    assert check.missing_tests(paths(source, "tests/core/test_ipam.py")) == []


def test_package_files_and_migrations_want_no_test_of_their_own() -> None:
    names = ("__init__.py", "cli/__main__.py", "store/migrations/env.py")
    assert check.missing_tests(paths(*(f"src/wireguard_mesh/{name}" for name in names))) == []


def test_the_longest_allowed_file_passes_and_one_line_more_does_not() -> None:
    path = PurePosixPath("src/wireguard_mesh/a.py")
    assert check.too_long(path, "x\n" * check.MAX_LINES) == []
    assert check.too_long(path, "x\n" * (check.MAX_LINES + 1)) != []


def test_a_repository_is_searched_whole_and_ignored_files_are_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    package = tmp_path / "src" / "wireguard_mesh"
    package.mkdir(parents=True)
    (package / "alone.py").write_text("x = 1\n" * (check.MAX_LINES + 1))
    (tmp_path / "notes.txt").write_text(INDEX)
    (tmp_path / "ignored.txt").write_text(INDEX)
    (tmp_path / ".gitignore").write_text("ignored.txt\n")
    found = sorted(line.split(":")[0] for line in check.complaints_of(tmp_path))
    assert found == ["notes.txt", "src/wireguard_mesh/alone.py", "src/wireguard_mesh/alone.py"]


def test_outside_of_a_clone_it_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="needs a git clone"):
        check.tracked_files(tmp_path)

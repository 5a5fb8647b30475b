"""The rules of this repository that no linter knows: `make lint` runs them.

- No lock file that records download addresses, and no committed text that names a package registry.
- Each source file src/wireguard_mesh/a/b.py has its test file tests/a/test_b.py.
- No source file is longer than MAX_LINES.
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = PurePosixPath("src/wireguard_mesh")
MAX_LINES = 400

LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml"}
# The dots are in classes so that this file does not match its own rule.
REGISTRY = re.compile(
    r"py[p]i[.]org|python[h]osted[.]org|--(extra-)[i]ndex-url|--[i]ndex-url|^--[f]ind-links|registry[.](npm|yarn)",
    re.MULTILINE,
)
# Migrations run against a real database in the store's tests, all at once.
WITHOUT_OWN_TEST = {"__init__.py", "__main__.py", "interface.py"}
MIGRATIONS = "migrations"


def lock_files(paths: Iterable[PurePosixPath]) -> list[str]:
    """Complaints about files that pin packages to the place they were downloaded from."""
    return [f"{path}: lock file; requirements/*.txt are the pins" for path in paths if path.name in LOCK_FILES]


def registry_names(path: PurePosixPath, text: str) -> list[str]:
    """Complaints about a text that says where packages are downloaded from."""
    return [
        f"{path}:{text.count(chr(10), 0, found.start()) + 1}: names a package registry: {found.group()}"
        for found in REGISTRY.finditer(text)
    ]


def is_source(path: PurePosixPath) -> bool:
    return path.is_relative_to(PACKAGE) and path.suffix == ".py"


def missing_tests(paths: Iterable[PurePosixPath]) -> list[str]:
    """Complaints about source files without a test file of the same name."""
    present = set(paths)
    complaints = []
    for path in sorted(present):
        if not is_source(path) or path.name in WITHOUT_OWN_TEST or MIGRATIONS in path.parts:
            continue
        wanted = PurePosixPath("tests") / path.relative_to(PACKAGE).with_name(f"test_{path.name}")
        if wanted not in present:
            complaints.append(f"{path}: has no {wanted}")
    return complaints


def too_long(path: PurePosixPath, text: str) -> list[str]:
    """A complaint about a source file that wants a better division."""
    lines = text.count("\n")
    return [f"{path}: {lines} lines; divide it (at most {MAX_LINES})"] if lines > MAX_LINES else []


def tracked_files(root: Path) -> list[PurePosixPath]:
    """Every file that is committed or would be by `git add`, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=False,
        text=True,
    )
    if listed.returncode != 0:
        sys.exit(f"check_repository: needs a git clone: {listed.stderr.strip()}")
    return [PurePosixPath(name) for name in listed.stdout.split("\0") if name and (root / name).is_file()]


def complaints_of(root: Path) -> list[str]:
    """All complaints about the repository at root."""
    paths = tracked_files(root)
    complaints = lock_files(paths) + missing_tests(paths)
    for path in paths:
        text = (root / path).read_bytes().decode(errors="replace")
        complaints += registry_names(path, text)
        if is_source(path):
            complaints += too_long(path, text)
    return complaints


def main() -> None:
    complaints = complaints_of(ROOT)
    if complaints:
        sys.exit("\n".join(complaints))
    print("repository: no registry named, no lock file, every source file tested and of readable length")


if __name__ == "__main__":
    main()

"""Build bin/vpn-server, bin/vpn-client and bin/vpn-relay: single files that need only Python.

    python scripts/build_single_files.py [--into FOLDER] [server] [client] [relay]

Each is a zip archive that Python runs (made by shiv). Extension modules cannot be loaded from inside a zip, so
on its first start it unpacks itself into ~/.shiv, or $SHIV_ROOT. It carries the extension modules of every
Python named in PYTHONS, side by side: their file names differ. So one file serves all of them, on the platform
that built it. The same sources and pins give the same bytes.

Wheels are downloaded once into build/wheels and checked against the pinned hashes; later builds need no network.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
# Each with the name of its requirements: a relay speaks to the server as a client does, and needs no more.
PROGRAMS = {"server": "server", "client": "client", "relay": "client"}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LAUNCH_CHECK = Path(__file__).with_name("launch_check.py")
# The earliest time that a zip archive can carry, 1980-01-01, unless the caller names another.
SOURCE_DATE_EPOCH = os.environ.get("SOURCE_DATE_EPOCH", "315532800")


def run(*command: str | Path) -> None:
    """Run a program of this virtual environment; its output appears only when it fails."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}build: {Path(str(command[0])).name} failed (its own words are above)")


def pip(*arguments: str | Path) -> None:
    run(sys.executable, "-m", "pip", "--quiet", "--no-input", *arguments)


def requirements_of(program: str) -> Path:
    """What it imports, pinned."""
    return ROOT / "requirements" / f"{PROGRAMS[program]}.txt"


def download_wheels(program: str) -> Path:
    """The pinned wheels of a program for every Python, downloaded when the pins changed."""
    requirements = requirements_of(program)
    wheels = BUILD / "wheels" / PROGRAMS[program]
    stamp = wheels / "complete"
    wanted = hashlib.sha256(requirements.read_bytes() + " ".join(PYTHONS).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return wheels
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    for python in PYTHONS:
        wanted_here = wheels / f"requirements-{python}.txt"
        wanted_here.write_text("\n".join(pins_for(python, requirements.read_text())))
        pip(
            "download",
            "--require-hashes",
            "--no-deps",
            "--only-binary=:all:",
            f"--python-version={python}",
            f"--dest={wheels}",
            f"--requirement={wanted_here}",
        )
    stamp.write_text(wanted)
    return wheels


def pins_for(python: str, requirements: str) -> list[str]:
    """The pins that a Python needs: pip judges by the one that it runs under, whichever it downloads for."""
    found = []
    for pin in requirements.replace("\\\n", " ").splitlines():
        _, semicolon, rest = pin.partition(";")
        marker = rest.partition("--hash")[0].strip()
        if not semicolon or Marker(marker).evaluate({"python_version": python, "python_full_version": f"{python}.0"}):
            found.append(pin)
    return found


def build_own_wheel() -> Path:
    """This project's wheel, alone in a folder."""
    folder = BUILD / "own"
    shutil.rmtree(folder, ignore_errors=True)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", f"--wheel-dir={folder}", ROOT)
    return folder


def unpack(program: str, wheels: Path, own: Path) -> Path:
    """A site-packages folder with everything that the program imports, for every Python at once."""
    site = BUILD / "site" / program
    shutil.rmtree(site, ignore_errors=True)
    run(
        Path(sys.executable).with_name("uv"),
        "pip",
        "install",
        "--no-config",
        "--offline",
        "--no-index",
        "--no-deps",
        "--only-binary=:all:",
        "--link-mode=copy",
        f"--python-version={PYTHONS[0]}",
        f"--target={site}",
        f"--find-links={wheels}",
        f"--requirement={requirements_of(program)}",
        *own.glob("*.whl"),
    )
    add_extension_modules(wheels, site)
    (site / ".lock").unlink(missing_ok=True)  # the installer's own, writable by everybody
    # Start scripts name the Python of this machine, and these records its folders and its clock.
    shutil.rmtree(site / "bin", ignore_errors=True)
    for name in ("RECORD", "direct_url.json", "uv_cache.json", "uv_build.json"):
        for record in site.glob(f"*.dist-info/{name}"):
            record.unlink()
    return site


def add_extension_modules(wheels: Path, site: Path) -> None:
    """Put the extension modules for the other Pythons beside those for the first: all else is the same."""
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if ".so" in Path(name).suffixes and not (site / name).exists():
                    wheel.extract(name, site)


def pack(program: str, site: Path, into: Path) -> Path:
    """The runnable file, moved into its folder only when it is whole."""
    into.mkdir(parents=True, exist_ok=True)
    target = into / f"vpn-{program}"
    unfinished = target.with_suffix(".unfinished")
    run(
        Path(sys.executable).with_name("shiv"),
        "--reproducible",
        f"--site-packages={site}",
        f"--entry-point=wireguard_mesh.cli.entry:vpn_{program}",
        f"--preamble={LAUNCH_CHECK}",
        "--python=/usr/bin/env python3",
        f"--output-file={unfinished}",
    )
    return unfinished.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the single files.")
    parser.add_argument("programs", nargs="*", help=f"which of {', '.join(PROGRAMS)}; all by default")
    parser.add_argument("--into", type=Path, default=ROOT / "bin", help="the folder to put them in")
    arguments = parser.parse_args()
    if unknown := set(arguments.programs) - set(PROGRAMS):
        parser.error(f"no such program: {', '.join(sorted(unknown))}")

    os.umask(0o022)  # the archive records its files' modes
    own = build_own_wheel()
    for program in arguments.programs or PROGRAMS:
        site = unpack(program, download_wheels(program), own)
        target = pack(program, site, arguments.into.resolve())
        shutil.rmtree(site)
        print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, for Python {', '.join(PYTHONS)}")


if __name__ == "__main__":
    main()

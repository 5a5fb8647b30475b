"""Where the built kernel lies: outside the repository, under a name that says what it was built from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE_PACKAGE = "linux-source-6.12"
"""The Debian package of the kernel's source. A point release within it does not make a built kernel stale: the tests
need this series, not today's patch, and a cache that expired with each security update would cost every
developer a build. The exact version stands in the file `version` beside the kernel."""

CONFIG = Path(__file__).with_name("uml.config")

_KEY_DIGITS = 16
_FORMAT = "1"
"""Raise it when the way of building changes so that an older kernel of the same configuration must not be used."""


@dataclass(frozen=True, slots=True)
class KernelPaths:
    """The files of one kernel in the cache."""

    home: Path
    """Appears complete or not at all."""
    building: Path
    """Where it is built; a folder left behind by a killed build is removed by the next."""
    lock: Path
    log: Path

    @property
    def kernel(self) -> Path:
        return self.home / "linux"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The project's folder in the user's cache, by the XDG Base Directory specification.

    That specification says to ignore a relative path in the variable.
    """
    stated = Path(environment.get("XDG_CACHE_HOME", ""))
    base = stated if stated.is_absolute() else Path(environment.get("HOME", "/root")) / ".cache"
    return base / "wireguard-mesh"


def kernel_key(config: str) -> str:
    """A short name for the kernel that this configuration makes; comments and order do not count."""
    options = sorted(wanted_options(config))
    digest = hashlib.sha256("\n".join([_FORMAT, SOURCE_PACKAGE, *options]).encode())
    return digest.hexdigest()[:_KEY_DIGITS]


def wanted_options(config: str) -> list[str]:
    """The lines `CONFIG_NAME=value` of a configuration fragment, in its order."""
    lines = (line.strip() for line in config.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def kernel_paths(cache: Path, config: str) -> KernelPaths:
    """Where the kernel of this configuration lies, whether it has been built or not."""
    name = f"uml-{kernel_key(config)}"
    return KernelPaths(
        home=cache / name,
        building=cache / f"{name}.building",
        lock=cache / f"{name}.lock",
        log=cache / f"{name}.log",
    )

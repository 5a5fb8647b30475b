"""Say in one line when this Python cannot run the single file.

Runs inside the single files of make build before anything of theirs is imported. The file carries extension
modules for certain versions of CPython; on another one the user would meet an ImportError's traceback.
"""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path


def complaint(site_packages: Path) -> str | None:
    """What is wrong with this Python for the unpacked modules, None when nothing is.

    msgspec is the witness: both programs carry it, with one extension module for each Python served.
    """
    if (site_packages / "msgspec" / f"_core{importlib.machinery.EXTENSION_SUFFIXES[0]}").exists():
        return None
    served = sorted(module.name.split(".")[1] for module in (site_packages / "msgspec").glob("_core.*.so"))
    this = importlib.machinery.EXTENSION_SUFFIXES[0].split(".")[1]
    return f"made for {', '.join(served)}, but this is {this}; use one of those, or build anew with make build"


if __name__ == "__main__":
    # shiv gives this script the file that was started, and the folder of its unpacked modules.
    found = complaint(Path(globals()["site_packages"]))
    if found is not None:
        sys.exit(f"{Path(globals()['archive']).name}: {found}")

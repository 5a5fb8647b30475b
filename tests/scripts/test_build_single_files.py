"""Which pins a single file needs for which Python."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_single_files.py"
REQUIREMENTS = """\
# made by a tool
always==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via something
old==2.0 ; python_full_version < '3.14' and sys_platform == 'linux' \\
    --hash=sha256:cc
elsewhere==3.0 ; sys_platform == 'win32' --hash=sha256:dd
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_single_files", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("python", "names"), [("3.11", ["always", "old"]), ("3.14", ["always"])])
def test_pins_are_those_of_the_python_that_is_built_for(script: ModuleType, python: str, names: list[str]) -> None:
    pins = [pin for pin in script.pins_for(python, REQUIREMENTS) if pin and not pin.lstrip().startswith("#")]
    assert [pin.partition("==")[0] for pin in pins] == names
    assert pins[0].split()[1:] == ["--hash=sha256:aa", "--hash=sha256:bb"]

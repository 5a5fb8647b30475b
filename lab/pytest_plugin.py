"""The `lab` fixture, which tests/conftest.py takes in."""

import os
from collections.abc import Generator, Iterator

import pytest

from lab.lab import Lab

_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on the test that it failed, for its fixtures to see."""
    report = yield
    item.stash[_failed] = report.failed or item.stash.get(_failed, False)
    return report


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """An empty lab for one test. When the test fails, the output of all programs is kept.

    It needs root. Where there is none, tests fail, unless the environment says `LAB=off`.
    """
    require_lab()
    with Lab(request.node.name) as lab:
        yield lab
        if request.node.stash.get(_failed, False):
            lab.keep_logs()


def require_lab() -> None:
    """Skip the running test with `LAB=off`, and fail it without root; for fixtures of a wider scope."""
    if os.environ.get("LAB") == "off":
        pytest.skip("LAB=off")
    if os.geteuid() != 0:
        pytest.fail("this test makes network namespaces: run it as root, or skip all such with LAB=off")

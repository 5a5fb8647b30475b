"""Fixtures for all tests."""

import logging
from collections.abc import Iterator

import pytest

from lab.pytest_plugin import lab, pytest_runtest_makereport
from tests.databases import databases, location

__all__ = ["databases", "lab", "location", "pytest_runtest_makereport"]


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """A program that a test runs in its own process sets how much is logged: the next test has it as before."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)

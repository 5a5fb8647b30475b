"""Fixtures for all tests."""

from lab.pytest_plugin import lab, pytest_runtest_makereport
from tests.databases import databases, location

__all__ = ["databases", "lab", "location", "pytest_runtest_makereport"]

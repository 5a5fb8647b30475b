"""Fixtures for all tests."""

from lab.pytest_plugin import lab, pytest_runtest_makereport

__all__ = ["lab", "pytest_runtest_makereport"]

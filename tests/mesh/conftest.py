"""A mesh of real programs for each test."""

import pytest

from lab import Lab
from lab.mesh import Mesh


@pytest.fixture
def mesh(lab: Lab) -> Mesh:
    """A server that runs; clients join by `mesh.join`."""
    return Mesh(lab)

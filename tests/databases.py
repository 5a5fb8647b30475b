"""Databases for tests: files, and those of a real PostgreSQL, which is started when the first test asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.postgres import Postgres, postgres
from wireguard_mesh.store.location import Location, PostgresUrl

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
ENGINES = (SQLITE, POSTGRESQL)


class Databases:
    """Makes as many empty ones as are asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._count = 0
        self._postgres: Postgres | None = None

    @property
    def postgres(self) -> Postgres:
        """The one server of all tests: who stops it starts another one."""
        if self._postgres is None:
            self._postgres = self._stack.enter_context(postgres())
            self._stack.callback(self._postgres.kill)  # at the end nothing is to be kept
        return self._postgres

    def new(self, engine: str) -> Location:
        """Where an empty database is."""
        if engine == POSTGRESQL:
            return PostgresUrl(self.postgres.create_database())
        self._count += 1
        return self._folder / f"{self._count}.db"


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """For tests that need more than one, or one an example."""
    with ExitStack() as stack:
        yield Databases(tmp_path_factory.mktemp("databases"), stack)


@pytest.fixture(params=ENGINES)
def location(request: pytest.FixtureRequest, databases: Databases) -> Location:
    """An empty database of each engine."""
    return databases.new(request.param)

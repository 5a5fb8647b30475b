"""A PostgreSQL of one's own."""

import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.machine import ROOT
from lab.postgres import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def test_each_database_is_its_own(server: Postgres) -> None:
    first, second = server.create_database(), server.create_database()
    assert first != second
    name = first.partition("?")[0].rpartition("/")[2]
    server.query(name, "create table t (n int)")
    server.query(name, "insert into t values (1), (2)")
    assert server.query(name, "select n, n * 2 from t order by n") == [["1", "2"], ["2", "4"]]
    with pytest.raises(LabError, match="does not exist"):
        server.query(second.partition("?")[0].rpartition("/")[2], "select * from t")


def test_it_listens_on_no_network_and_is_not_root(server: Postgres) -> None:
    assert server.query("postgres", "show listen_addresses") == [[""]]
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    with pytest.raises(LabError, match="syntax error"):
        server.query("postgres", "no statement")


def test_it_is_gone_afterwards() -> None:
    with postgres() as server:
        pid, folder = server.pid, Path(server.url("x").rpartition("=")[2])
        assert folder.is_dir()
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()


def test_what_was_committed_outlives_a_crash() -> None:
    with postgres(durable=True, track_commit_timestamp="on") as server:
        assert server.query("postgres", "show fsync") == server.query("postgres", "show track_commit_timestamp")
        server.query("postgres", "create table t as select 7 as n")
        server.kill()
        server.start()
        assert server.query("postgres", "select n from t") == [["7"]]


def test_it_ends_with_its_owner() -> None:
    script = """
        from lab.postgres import postgres
        with postgres() as server:
            print(server.pid, server.url("x").rpartition("=")[2], flush=True)
            input()
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pid, folder = owner.stdout.readline().split()
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        assert time.monotonic() < deadline, "PostgreSQL outlives its owner"
        time.sleep(0.05)
    shutil.rmtree(folder)


def _is_zombie(pid: str) -> bool:
    # Where no init process reaps orphans.
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True

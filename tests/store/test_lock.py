"""One process a database."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.store.lock import DatabaseLock

HOLDER = """
import sys
from pathlib import Path
from wireguard_mesh.store.lock import DatabaseLock
DatabaseLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_another_process_is_named_and_its_death_lets_go(tmp_path: Path) -> None:
    database = tmp_path / "peers.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match=rf"another vpn-server uses this database: pid {holder.pid};"):
            DatabaseLock(database).acquire()
        holder.kill()
        holder.wait()
    with DatabaseLock(database):
        assert (tmp_path / "peers.db.lock").stat().st_mode & 0o777 == 0o600


def test_released_it_can_be_had_again(tmp_path: Path) -> None:
    lock = DatabaseLock(tmp_path / "peers.db")
    with lock, pytest.raises(Conflict):
        DatabaseLock(tmp_path / "peers.db").acquire()
    lock.release()
    with lock:
        pass


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot write .*: No such file or directory; choose a folder"):
        DatabaseLock(tmp_path / "missing" / "peers.db").acquire()


def test_a_full_disk_does_not_keep_it_from_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with DatabaseLock(tmp_path / "peers.db"), pytest.raises(Conflict, match="pid unknown"):
        DatabaseLock(tmp_path / "peers.db").acquire()


def test_a_disk_that_knows_no_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Unavailable, match="cannot be locked"):
        DatabaseLock(tmp_path / "peers.db").acquire()

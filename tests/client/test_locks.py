import errno
from pathlib import Path

import pytest

from wireguard_mesh.client.locks import Lock, make_directory
from wireguard_mesh.model.errors import Conflict, NotPermitted, Unavailable


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "wg0.lock"
    first = Lock(path, "an agent runs")
    with pytest.raises(Conflict, match=r"an agent runs \(process \d+\)"):
        Lock(path, "an agent runs")
    first.release()
    Lock(path, "an agent runs").release()
    assert path.exists()


def test_a_lock_that_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        Lock(tmp_path / "no" / "wg0.lock", "x")


def test_makes_the_directory_for_every_user_to_enter(tmp_path: Path) -> None:
    made = tmp_path / "a" / "b"
    make_directory(made)
    make_directory(made)
    assert made.stat().st_mode & 0o111


def test_a_directory_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotPermitted, match="root"):
        make_directory(tmp_path / "file" / "x")


def test_nobody_else_may_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "wg0.lock"
    path.touch(0o644)
    with Lock(path, "x"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_keeps_nobody_from_holding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with Lock(tmp_path / "wg0.lock", "an agent runs"), pytest.raises(Conflict, match=r"process unknown"):
        Lock(tmp_path / "wg0.lock", "an agent runs")


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(Unavailable, match="No locks available"):
        Lock(tmp_path / "wg0.lock", "x")

"""Files of databases appear whole or not at all, and nothing that stands is lost."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wireguard_mesh.model.errors import Conflict, InvalidValue, Unavailable
from wireguard_mesh.store import files
from wireguard_mesh.store.faults import Damaged, StorageFull

TABLE = "CREATE TABLE t (x INTEGER)"


def make(path: Path, value: int = 1, mode: str = "wal") -> sqlite3.Connection:
    """A database that is in use until the connection is closed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute(TABLE)
    connection.execute("INSERT INTO t VALUES (?)", (value,))
    return connection


def value_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        value: int = connection.execute("SELECT x FROM t").fetchone()[0]
        return value


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_is_complete_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with files.new_file(path) as made:
        make(made).close()
        assert not path.exists()
    assert names_in(tmp_path) == ["new.db"]
    assert path.read_bytes()[18:20] == b"\1\1"  # no write-ahead log: https://www.sqlite.org/fileformat.html
    assert value_in(path) == 1


@pytest.mark.parametrize("fault", [RuntimeError("oops"), KeyboardInterrupt()])
def test_one_that_is_not_completed_is_not_there(tmp_path: Path, fault: BaseException) -> None:
    path = tmp_path / "new.db"

    def fail() -> None:
        with files.new_file(path) as made:
            make(made).close()
            raise fault

    with pytest.raises(type(fault)):
        fail()
    assert names_in(tmp_path) == []


def test_what_comes_into_its_place_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    def overtaken() -> None:
        with files.new_file(path) as made:
            make(made).close()
            path.write_text("mine")

    with pytest.raises(Conflict, match="exists already"):
        overtaken()
    assert path.read_text() == "mine"


def test_a_file_in_use_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "used.db"
    with (
        closing(make(path)),
        pytest.raises(Conflict, match=r"used\.db-wal is there, so .* is or was a database in use"),
        files.new_file(path, replacing=True),
    ):
        pass
    with files.new_file(path, replacing=True) as made:
        make(made, 2).close()
    assert value_in(path) == 2


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="/dev/null exists already"):
        files.refuse_standing(Path("/dev/null"), replacing=True)
    with pytest.raises(Conflict, match="exists already"):
        files.refuse_standing(tmp_path, replacing=True)
    with pytest.raises(Unavailable, match=r"cannot write .*: File name too long"):
        files.refuse_standing(tmp_path / ("x" * 300))


def test_an_image_has_what_is_committed_and_disturbs_nobody(tmp_path: Path) -> None:
    path, image = tmp_path / "used.db", tmp_path / "image.db"
    with closing(make(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE t SET x = 2")
        files.take_image(path, image)
        writer.execute("COMMIT")
        assert value_in(image) == 1
    assert value_in(path) == 2


def test_an_image_leaves_nothing_beside(tmp_path: Path) -> None:
    path, image = tmp_path / "used.db", tmp_path / "image.db"
    make(path).close()
    before = path.read_bytes()
    files.take_image(path, image)
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["image.db", "used.db"]


def test_what_cannot_be_read_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, image = tmp_path / "used.db", tmp_path / "image.db"
    path.write_text("no database" * 100)
    with pytest.raises(InvalidValue, match="is no SQLite database"):
        files.take_image(path, image)
    with pytest.raises(Unavailable, match=r"cannot read the database .*nowhere: unable to open"):
        files.take_image(tmp_path / "nowhere", image)

    def failing(code: int, words: str) -> None:
        def fail(*_: object, **__: object) -> None:
            error = sqlite3.OperationalError(words)
            error.sqlite_errorcode = code
            raise error

        monkeypatch.setattr(sqlite3, "connect", fail)

    failing(sqlite3.SQLITE_CORRUPT, "database disk image is malformed")
    with pytest.raises(Damaged, match=r"used\.db is damaged; restore a backup"):
        files.take_image(path, image)
    failing(sqlite3.SQLITE_FULL, "database or disk is full")
    with pytest.raises(StorageFull, match=r"make room in .*, or set TMPDIR"):
        files.take_image(path, image)


def test_a_place_is_free_without_what_belonged_to_a_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert files.is_free(path)
    (tmp_path / "a.db-wal").touch()
    assert not files.is_free(path)
    (tmp_path / "a.db-wal").rename(path)
    assert not files.is_free(path)


def test_whether_there_is_something(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert not files.has_content(path)
    path.touch()
    assert not files.has_content(path)
    path.write_text("x")
    assert files.has_content(path)
    with pytest.raises(Conflict, match="is no regular file"):
        files.has_content(tmp_path)
    with pytest.raises(Unavailable, match=r"cannot read .*Not a directory"):
        files.has_content(path / "b")


def test_a_folder_is_made_for_its_owner(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    files.make_folder(tmp_path / "a")
    with pytest.raises(Unavailable, match="cannot make the folder"):
        files.make_folder(Path("/dev/null/x"))


def test_what_is_kept_aside_is_kept_with_its_log(tmp_path: Path) -> None:
    path, kept = tmp_path / "a.db", tmp_path / "kept.db"
    for suffix in ("", "-wal", "-journal", "-shm"):
        (tmp_path / f"a.db{suffix}").write_text(f"of a{suffix}")
    files.move_aside(path, kept)
    assert names_in(tmp_path) == ["a.db-shm", "kept.db", "kept.db-journal", "kept.db-wal"]
    path.write_text("other")
    with pytest.raises(Conflict, match="exists already"):
        files.move_aside(path, kept)
    assert kept.read_text() == "of a"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_is_the_servers(tmp_path: Path) -> None:
    path, link = tmp_path / "peers.db", tmp_path / "link.db"
    path.touch(mode=0o600)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.touch()
    link.symlink_to(outside)
    os.chown(tmp_path, 12345, 23456)
    for each in (path, link, tmp_path / "nowhere"):
        files.give_to_owner_of_folder(each)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)
    assert outside.stat().st_uid == 0


def test_nobody_else_gives_files_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.chown", lambda *_, **__: pytest.fail("it was given away"))
    files.give_to_owner_of_folder(tmp_path)

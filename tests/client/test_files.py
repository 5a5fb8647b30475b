"""Files that are for their owner only, and replaced whole."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from wireguard_mesh.client import files
from wireguard_mesh.model.errors import Conflict, InvalidValue, Unavailable


def test_what_is_written_is_read_again_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    files.replace(path, b"one")
    files.replace(path, b"two")
    assert files.read(path) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_what_is_not_there_is_none_and_may_be_removed(tmp_path: Path) -> None:
    assert files.read(tmp_path / "none") is None
    files.remove(tmp_path / "none")


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE", 10)
    (tmp_path / "long").write_bytes(bytes(11))
    with pytest.raises(Unavailable, match="longer than 10 bytes"):
        files.read(tmp_path / "long")


def test_what_the_disk_does_not_let_us_do_is_said(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_bytes(b"")
    with pytest.raises(Unavailable, match="cannot be written"):
        files.replace(taken / "file", b"")
    (tmp_path / "folder" / "below").mkdir(parents=True)
    with pytest.raises(Unavailable, match="folder cannot be written"):
        files.replace(tmp_path / "folder", b"")
    with pytest.raises(Unavailable, match="folder cannot be written"):
        files.remove(tmp_path / "folder")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "folder", taken]
    with pytest.raises(Unavailable, match="cannot be read"):
        files.read(tmp_path / "folder")


@pytest.mark.parametrize(
    ("place", "folder", "name"), [("etc/mesh", "etc/mesh", "client.json"), ("etc/other.json", "etc", "other.json")]
)
def test_a_place_is_a_folder_or_a_file(place: str, folder: str, name: str) -> None:
    assert files.place_of(Path(place), "client.json") == (Path(folder), name)


def test_an_identity_that_cannot_be_read_is_no_reason_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "key.json"

    def parse(data: bytes) -> bytes:
        if data != b"good":
            raise InvalidValue("it is torn")
        return data

    assert files.read_identity(path, parse, "a key", "repair it") is None
    files.replace(path, b"good")
    assert files.read_identity(path, parse, "a key", "repair it") == b"good"
    files.replace(path, b"half")
    with pytest.raises(Conflict, match=r"key\.json cannot be read \(it is torn\), and it holds a key") as caught:
        files.read_identity(path, parse, "a key", "repair it")
    assert caught.value.hint == "repair it"

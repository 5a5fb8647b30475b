"""Where a database is, and what of that may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.store.location import PostgresUrl, parse_location, parse_path, written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:s3cret@db.example.com:5432/mesh", "postgresql://ann@db.example.com:5432/mesh"),
        ("postgres://ann:s3cret@db/mesh?sslmode=require", "postgresql://ann@db/mesh?sslmode=require"),
        ("postgresql://db/mesh?user=ann&password=s3cret", "postgresql://db/mesh?user=ann"),
        ("postgresql://ann:s3%40cret@[::1]:5,h2:6/mesh", "postgresql://ann@[::1]:5,h2:6/mesh"),
        (
            "postgresql://ann@/mesh?host=/run/postgresql&sslpassword=s3cret",
            "postgresql://ann@/mesh?host=/run/postgresql",
        ),
        ("postgresql://ann@db/mesh?passw%6Frd=s3cret", "postgresql://ann@db/mesh"),
        ("postgresql:///mesh", "postgresql:///mesh"),
    ],
)
def test_a_password_is_never_shown(text: str, shown: str) -> None:
    location = parse_location(text)
    assert isinstance(location, PostgresUrl)
    assert str(location) == shown
    assert "cret" not in repr(location)
    assert written(location) == text
    assert parse_location(written(location)) == location


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:s3/cret@db/mesh",
        "postgresql://ann:s3?cret@db/mesh",
        "postgresql://ann:s3#cret@db/mesh",
        "postgresql://ann:s3cret/mesh",
        "postgresql://[ann:s3cret@db/mesh",
    ],
)
def test_a_url_that_could_show_its_password_is_refused_without_it(text: str) -> None:
    with pytest.raises(InvalidValue, match="cannot be understood") as caught:
        parse_location(text)
    assert "cret" not in str(caught.value)


def test_other_databases_are_refused() -> None:
    with pytest.raises(InvalidValue, match="mysql:// is no database of ours; a file, or a URL"):
        parse_location("mysql://ann:s3cret@db/mesh")


def test_anything_else_is_a_file(tmp_path: Path) -> None:
    assert parse_location(str(tmp_path / "peers.db")) == tmp_path / "peers.db"
    assert parse_location("postgresql") == Path("postgresql").resolve()
    assert parse_path("~/x") == (Path.home() / "x").resolve()
    assert written(tmp_path) == str(tmp_path)
    with pytest.raises(InvalidValue, match="no place for a file"):
        parse_path("a\0b")

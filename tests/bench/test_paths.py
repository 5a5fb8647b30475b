"""Which pairs the matrix of paths has."""

import pytest

from bench.path_theory import ACCESS, Expected
from bench.paths import cells
from lab import LabError


def test_every_pair_is_there_once() -> None:
    names = [cell.name for cell in cells(tuple(ACCESS))]
    count = len(ACCESS)
    assert len(set(names)) == len(names) == count * (count + 1) // 2 + 3
    assert "easy × hard" in names
    assert "hard × hard" in names
    assert "one carrier with hairpin" in names


def test_some_kinds_only() -> None:
    found = {cell.name: cell.expected for cell in cells(("hard", "full-cone"))}
    assert found == {
        "hard × hard": Expected.RELAY,
        "hard × full-cone": Expected.DIRECT,
        "full-cone × full-cone": Expected.DIRECT,
    }


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(LabError, match="no kind of place is named soft; there are public, easy"):
        list(cells(("easy", "soft")))

"""Lengths of time, as people write them."""

import pytest

from wireguard_mesh.model.durations import parse_duration
from wireguard_mesh.model.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("500ms", 0.5), (" 1s ", 1)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1d", "1e9", "٣", "1234567890", "nan"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InvalidValue, match="is no duration"):
        parse_duration(text)

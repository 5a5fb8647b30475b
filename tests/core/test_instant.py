import pytest

from wireguard_mesh.core.instant import Instant


def test_is_a_value() -> None:
    assert Instant(1.0, 2.0) == Instant(1.0, 2.0)
    with pytest.raises(AttributeError):
        Instant(1.0, 2.0).wall = 3.0  # type: ignore[misc]  # what must not work

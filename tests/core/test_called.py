import pytest

from wireguard_mesh.core.called import the_one
from wireguard_mesh.model.errors import NotFound


def test_the_only_one() -> None:
    assert the_one("x", [("peer-1", 5)]) == 5


def test_none_and_several_are_said() -> None:
    with pytest.raises(NotFound, match="no peer is called x; see: vpn-client status"):
        the_one("x", [])
    with pytest.raises(NotFound, match="2 peers are called x; say which: peer-1, peer-2"):
        the_one("x", [("peer-1", 5), ("peer-2", 6)])

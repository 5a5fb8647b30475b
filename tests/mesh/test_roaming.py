"""A machine that changes its network is reached again by itself, whoever speaks first."""

import pytest

from lab.mesh import Mesh, unanswered

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("kind", ["plain", "easy"])
def test_peers_reach_a_machine_that_moved(mesh: Mesh, kind: str) -> None:
    one, two = mesh.join("one", "two")
    assert mesh.unreachable() == []
    elsewhere = mesh.lab.switch("elsewhere", "198.51.100.0/24", "2001:db8:2::/64")
    mesh.lab.router("router", elsewhere, mesh.lan, kind=kind)

    # WireGuard alone would need minutes; `unanswered` gives up after seconds.
    two.host.move(elsewhere)
    assert unanswered(one.host, two.addresses()) == []
    two.host.move(mesh.lan)
    assert unanswered(two.host, one.addresses()) == []
    two.host.move(elsewhere)
    assert unanswered(two.host, one.addresses()) == []
    assert unanswered(one.host, two.addresses()) == []

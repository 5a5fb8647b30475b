"""An exit node carries the others' internet traffic, and all of it is undone on `down`."""

from collections.abc import Iterator

import pytest

from lab import Lab
from lab.internet import Internet
from lab.internet import internet as make_internet
from lab.mesh import Client, unanswered
from lab.state import network_state

pytestmark = pytest.mark.lab


@pytest.fixture
def internet(lab: Lab) -> Iterator[Internet]:
    with make_internet(lab) as made:
        yield made


def test_traffic_leaves_at_the_exit_node_until_down(internet: Internet) -> None:
    untouched = network_state(internet.laptop), network_state(internet.exit_host)
    assert internet.web.sees_both(internet.laptop) == internet.home

    exit_node = Client(internet.exit_host, internet.server, "-exit-node")
    assert exit_node.addresses()
    laptop = Client(internet.laptop, internet.server, "-use-exit-node", "off")
    assert laptop.ping(*exit_node.addresses()) == []
    assert internet.web.sees_both(internet.laptop) == internet.home

    laptop.host.run("vpn-client", "set", "-use-exit-node", "auto")
    assert internet.until_exit() == internet.exit
    # Home stays at hand, and what stands between agent and server does not go through the tunnel.
    assert unanswered(laptop.host, [internet.printer.ipv4, internet.printer.ipv6]) == []
    assert laptop.ping(*exit_node.addresses()) == []

    laptop.process.kill()
    assert internet.web.sees_both(internet.laptop) == internet.exit

    laptop.host.run("vpn-client", "down")
    assert internet.web.sees_both(internet.laptop) == internet.home
    assert network_state(internet.laptop) == untouched[0]
    exit_node.process.kill()
    exit_node.host.run("vpn-client", "down")
    assert network_state(internet.exit_host) == untouched[1]


def test_by_default_a_client_takes_the_exit_node_that_is_there(internet: Internet) -> None:
    exit_node = Client(internet.exit_host, internet.server, "-exit-node")
    assert exit_node.addresses()
    Client(internet.laptop, internet.server)
    assert internet.until_exit() == internet.exit

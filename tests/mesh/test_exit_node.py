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


def _goes_out(internet: Internet) -> bool:
    return internet.laptop.run("ping", "-c1", "-W1", internet.web.host.ipv4, check=False).returncode == 0


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


def test_who_names_an_exit_node_goes_out_by_no_other_way(internet: Internet) -> None:
    exit_node = Client(internet.exit_host, internet.server, "-exit-node")
    assert exit_node.addresses()
    laptop = Client(internet.laptop, internet.server, "-use-exit-node", exit_node.name)
    assert laptop.addresses()
    assert internet.until_exit() == internet.exit

    exit_node.host.run("vpn-client", "set", "-no-exit-node")
    laptop.process.wait_for("no internet", timeout=20)
    assert not _goes_out(internet)
    # A new agent knows nothing of what was before.
    laptop.process.kill()
    laptop.start().wait_for("no internet", timeout=20)
    assert not _goes_out(internet)
    laptop.host.run("vpn-client", "set", "-use-exit-node", "off")
    assert unanswered(internet.laptop, [internet.web.host.ipv4]) == []
    assert internet.web.sees_both(internet.laptop) == internet.home


def test_exit_routing_that_somebody_removes_is_made_again(internet: Internet) -> None:
    exit_node = Client(internet.exit_host, internet.server, "-exit-node")
    assert exit_node.addresses()
    assert Client(internet.laptop, internet.server).addresses()
    assert internet.until_exit() == internet.exit
    internet.laptop.run("ip", "rule", "delete", "table", "51820")
    assert internet.until_exit() == internet.exit


def test_who_cannot_forward_is_no_exit_node(internet: Internet) -> None:
    exit_node = Client(internet.exit_host, internet.server)
    laptop = Client(internet.laptop, internet.server)
    assert laptop.ping(*exit_node.addresses()) == []
    internet.exit_host.run("sh", "-c", 'mount --bind /bin/false "$(command -v nft)"')
    internet.exit_host.run("vpn-client", "set", "-exit-node")
    exit_node.process.wait_for("exit node: nft", timeout=20)
    assert exit_node.name not in internet.laptop.run("vpn-client", "exit-node", "list").stdout
    assert internet.web.sees_both(internet.laptop) == internet.home

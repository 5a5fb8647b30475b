"""Our table of nftables: its name, its rules, and that the kernel takes them."""

from collections.abc import Iterator

import msgspec
import pytest

from lab.host import Host
from lab.lab import Lab
from tests.system.hosts import BOTH, EXIT_NODE, EXIT_USER, MEMBER, inside, tool
from wireguard_mesh.model.errors import Unsupported
from wireguard_mesh.model.names import InterfaceName, parse_interface_name
from wireguard_mesh.system import firewall


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    with inside(lab) as host:
        yield host


def test_no_table_for_a_mere_member() -> None:
    assert firewall.ruleset(MEMBER) == ""


def test_an_exit_user_has_no_forwarding_and_an_exit_node_no_marks() -> None:
    user, node = firewall.ruleset(EXIT_USER), firewall.ruleset(EXIT_NODE)
    assert "masquerade" not in user
    assert "mark" not in node
    assert "ip daddr { 10.100.0.7 } fib saddr type != local drop" in user
    assert "ip6 daddr { fd01:2345:6789::7 } fib saddr type != local drop" in user
    assert "ip saddr { 10.100.0.0/16 } masquerade" in node


@pytest.mark.parametrize(
    ("name", "table"),
    [("wg0", "wireguard_mesh_wg0"), ("my-mesh.1", "wireguard_mesh_my-mesh.1"), ("a=b+", "wireguard_mesh_a_3db_2b")],
)
def test_every_interface_name_gives_a_name_that_nft_takes(name: str, table: str) -> None:
    assert firewall.table_name(parse_interface_name(name)) == table


@pytest.mark.lab
@pytest.mark.parametrize("name", ["wg0", "a=b+", "my-mesh.1"])
async def test_the_kernel_takes_it_replaces_it_and_lets_it_go(host: Host, name: str) -> None:
    wanted = msgspec.structs.replace(BOTH, interface=InterfaceName(name))
    table = firewall.table_name(wanted.interface)
    assert not firewall.table_stands(table)
    await firewall.load(firewall.ruleset(wanted))
    once = tool("nft", "list", "ruleset")
    await firewall.load(firewall.ruleset(wanted))
    assert tool("nft", "list", "ruleset") == once
    assert firewall.table_stands(table)
    for _ in range(2):
        await firewall.load(firewall.deletion(table))
        assert not firewall.table_stands(table)
    assert tool("nft", "list", "ruleset") == ""


@pytest.mark.lab
async def test_rules_that_nft_refuses_change_nothing(host: Host) -> None:
    await firewall.load(firewall.ruleset(BOTH))
    before = tool("nft", "list", "ruleset")
    with pytest.raises(Unsupported, match="refused"):
        await firewall.load(firewall.ruleset(EXIT_USER) + "nonsense\n")
    assert tool("nft", "list", "ruleset") == before

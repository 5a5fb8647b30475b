"""The host's side of a tunnel is one comparable value."""

from ipaddress import ip_interface, ip_network

from wireguard_mesh.model.hosts import ExitRouting, WantedHost
from wireguard_mesh.model.names import InterfaceName


def test_equal_wishes_are_equal_values() -> None:
    def wish() -> WantedHost:
        return WantedHost(
            interface=InterfaceName("wg0"),
            mtu=1420,
            addresses=frozenset({ip_interface("10.100.0.1/32"), ip_interface("fd00::1/128")}),
            routes=frozenset({ip_network("10.100.0.0/16")}),
            exit_routing=ExitRouting(fwmark=51820, table=51820, families=frozenset({4, 6})),
        )

    assert wish() == wish()
    assert hash(wish()) == hash(wish())

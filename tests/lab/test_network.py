"""Switches, links, routers."""

import re
from ipaddress import ip_address

import pytest

from lab import Host, Lab, LabError
from lab.network import Switch

pytestmark = pytest.mark.lab


def _pings(host: Host, address: object) -> bool:
    done = host.run("ping", "-n", "-c1", "-W1", address, check=False)
    return done.returncode == 0


def _lan(lab: Lab, number: int = 1) -> Switch:
    return lab.switch(f"lan{number}", f"192.0.{number}.0/24", f"2001:db8:{number}::/64")


def test_hosts_on_a_switch_reach_each_other(lab: Lab) -> None:
    lan = _lan(lab)
    a, b = lab.host("a", lan), lab.host("b", lan)
    assert (a.ipv4, b.ipv4) == (ip_address("192.0.1.1"), ip_address("192.0.1.2"))
    assert b.ipv6 == ip_address("2001:db8:1::2")
    assert _pings(a, b.ipv4)
    assert _pings(a, b.ipv6)


def test_switches_are_separate_and_may_have_the_same_addresses(lab: Lab) -> None:
    a = lab.host("a", lab.switch("one", "10.0.0.0/24"))
    other = lab.switch("two", "10.0.0.0/24")
    lab.host("b", other)
    c = lab.host("c", other)
    assert c.ipv4 != a.ipv4
    assert not _pings(a, c.ipv4)
    with pytest.raises(LabError, match="no IPv6 address on one"):
        _ = a.ipv6


def test_a_full_switch_says_so(lab: Lab) -> None:
    tiny = lab.switch("tiny", "192.0.2.0/30")
    lab.host("a", tiny)
    lab.host("b", tiny)
    with pytest.raises(LabError, match=r"no free address left in 192\.0\.2\.0/30"):
        lab.host("c", tiny)


def test_a_plain_router_joins_two_segments_both_ways(lab: Lab) -> None:
    inner, outer = _lan(lab, 1), _lan(lab, 2)
    early = lab.host("early", outer)
    lab.router("router", inner, outer)
    a, late = lab.host("a", inner), lab.host("late", outer)
    for other in (early, late):
        assert _pings(a, other.ipv4)
        assert _pings(a, other.ipv6)
        assert _pings(other, a.ipv4)
        assert _pings(other, a.ipv6)


def test_a_pulled_cable_is_seen_and_put_back(lab: Lab) -> None:
    lan = _lan(lab)
    a, b = lab.host("a", lan), lab.host("b", lan)
    b.link.down()
    assert "NO-CARRIER" in b.run("ip", "link", "show", "eth0").stdout
    assert not _pings(a, b.ipv4)
    b.link.up()
    a.run("ping", "-c1", "-W5", b.ipv4)  # the kernel asks for the neighbour again only after a second


def test_loss_on_a_link(lab: Lab) -> None:
    lan = _lan(lab)
    a, b = lab.host("a", lan), lab.host("b", lan)
    a.link.lose(100)
    assert not _pings(a, b.ipv4)
    assert not _pings(a, b.ipv6)
    a.link.lose(0)
    assert _pings(a, b.ipv6)


def test_a_moved_host_has_new_addresses_and_routes(lab: Lab) -> None:
    home, office, internet = _lan(lab, 1), _lan(lab, 2), _lan(lab, 3)
    lab.router("home-router", home, internet)
    lab.router("office-router", office, internet)
    a, far = lab.host("a", home), lab.host("far", internet)
    assert _pings(a, far.ipv4)
    before = a.ipv4
    a.move(office)
    assert a.ipv4 in office.prefixes[0]
    assert str(before) not in a.run("ip", "address").stdout
    assert _pings(a, far.ipv4)
    assert _pings(a, far.ipv6)
    assert _pings(far, a.ipv6)


def test_netem_works_or_says_where_it_does(lab: Lab) -> None:
    lan = _lan(lab)
    a, b = lab.host("a", lan), lab.host("b", lan)
    if not _kernel_has_netem(lab):
        with pytest.raises(LabError, match="this kernel has no netem"):
            a.link.netem(delay="40ms")
        return
    a.link.netem(delay="40ms")
    assert _round_trip(a, b.ipv4) >= 80
    a.link.netem()
    assert _round_trip(a, b.ipv4) < 80


def _round_trip(host: Host, address: object) -> float:
    """Milliseconds, of a second ping: the first one has to find the neighbour."""
    output = host.run("ping", "-n", "-c2", "-i0.2", address).stdout
    (found,) = re.findall(r"icmp_seq=2 .*time=(\S+) ms", output)
    return float(found)


def _kernel_has_netem(lab: Lab) -> bool:
    host = lab.host("trial")
    return host.run("tc", "qdisc", "add", "dev", "lo", "root", "netem", check=False).returncode == 0


def test_fifty_hosts_reach_each_other_in_a_full_mesh(lab: Lab) -> None:
    lan = _lan(lab)
    hosts = [lab.host(f"h{number}", lan) for number in range(50)]
    everybody = [str(host.ipv4) for host in hosts]
    script = "for address in $*; do ping -n -c1 -W2 $address >/dev/null || echo $address; done"
    for host in hosts[:3]:
        assert host.run("sh", "-c", script, "sh", *everybody).stdout == ""

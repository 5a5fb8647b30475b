"""Which settings an exit node needs, given those that stand."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from wireguard_mesh.system import sysctl
from wireguard_mesh.system.forwarding import forwarding_settings

IPV4, IPV6 = ip_network("10.100.0.0/16"), ip_network("fd00::/64")


@pytest.fixture(autouse=True)
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sysctl, "PROC_SYS", tmp_path)
    return tmp_path


def given(proc: Path, **settings: str) -> None:
    for name, value in settings.items():
        path = proc / "net" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


def summary(*sources: object) -> list[tuple[str, str | None, str, str]]:
    prefixes = [source for source in (IPV4, IPV6) if source in sources]
    return [(entry.path, entry.value, entry.expected, entry.previous) for entry in forwarding_settings(prefixes)]


def test_nothing_where_it_forwards_already(proc: Path) -> None:
    given(proc, ipv4__ip_forward="1", ipv6__conf__all__forwarding="1")
    assert summary(IPV4, IPV6) == []
    assert summary() == []


def test_ipv4_with_what_the_kernel_changes_along(proc: Path) -> None:
    given(
        proc,
        ipv4__ip_forward="0",
        ipv4__conf__all__accept_redirects="0",
        ipv4__conf__all__forwarding="0",
        ipv4__conf__eth0__forwarding="1",
        ipv4__conf__eth1__forwarding="0",
        ipv6__conf__all__forwarding="0",
    )
    assert summary(IPV4) == [
        ("net/ipv4/conf/all/accept_redirects", None, "1", "0"),
        ("net/ipv4/conf/eth0/forwarding", None, "0", "1"),
        ("net/ipv4/ip_forward", "1", "1", "0"),
    ]


def test_ipv6_keeps_listening_to_routers(proc: Path) -> None:
    given(
        proc,
        ipv6__conf__all__forwarding="0",
        ipv6__conf__all__accept_ra="1",
        ipv6__conf__default__forwarding="0",
        ipv6__conf__eth0__forwarding="0",
        ipv6__conf__eth0__accept_ra="1",
        ipv6__conf__eth1__forwarding="1",
        ipv6__conf__eth1__accept_ra="0",
    )
    assert summary(IPV6) == [
        ("net/ipv6/conf/eth0/accept_ra", "2", "2", "1"),
        ("net/ipv6/conf/eth1/forwarding", None, "0", "1"),
        ("net/ipv6/conf/all/forwarding", "1", "1", "0"),
    ]

"""The gateway of the default route."""

import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab.host import Host
from lab.lab import Lab
from lab.machine import ROOT
from wireguard_mesh.system.gateway import default_gateway

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
LAN = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
WIFI = "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
WIRED = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
LINK = "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
DOWN = "eth1\t00000000\t0103A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"
HALF = "wg0\t00000000\t0104A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are of a little-endian machine")
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([LAN, WIFI, WIRED], "192.168.1.1"),
        ([WIFI], "192.168.2.1"),
        ([LAN, LINK, DOWN, HALF, "cut off\n"], None),
        ([], None),
    ],
)
def test_the_default_route_with_the_least_metric(lines: list[str], expected: str | None, tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(HEADER + "".join(lines))
    assert default_gateway(table) == (None if expected is None else IPv4Address(expected))


def test_a_system_without_such_a_table(tmp_path: Path) -> None:
    assert default_gateway(tmp_path / "none") is None


@pytest.mark.lab
def test_of_a_real_host(lab: Lab) -> None:
    home = lab.switch("home", "192.168.1.0/24")
    host = lab.host("laptop", home)
    router = lab.router("router", home, lab.switch("internet", "198.51.100.0/24"), kind="easy")
    assert _asked_on(host) == str(router.ipv4)
    host.run("ip", "route", "del", "default")
    assert _asked_on(host) == "None"


def _asked_on(host: Host) -> str:
    ask = "import sys; from wireguard_mesh.system.gateway import *; sys.stdout.write(str(default_gateway()))"
    return host.run(sys.executable, "-c", ask, env={"PYTHONPATH": str(ROOT / "src")}).stdout

"""What a host has for itself."""

from pathlib import Path

import pytest

from lab import Lab, LabError

pytestmark = pytest.mark.lab


def test_two_hosts_share_neither_network_nor_processes_nor_run_nor_etc(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    a.run("ip", "link", "add", "name", "x0", "type", "veth", "peer", "name", "x1")
    assert a.run("ls", "/sys/class/net").stdout.split() == ["lo", "x0", "x1"]
    assert b.run("ls", "/sys/class/net").stdout.split() == ["lo"]

    a.start("sleep", "1000")
    assert "sleep" not in b.run("sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
    assert (len(a.processes("sleep")), len(b.processes("sleep"))) == (1, 0)

    a.path("/run/note").write_text("a")
    assert a.run("cat", "/run/note").stdout == "a"
    assert not b.path("/run/note").exists()
    assert not Path("/run/note").exists()

    a.run("sh", "-c", "echo 192.0.2.9 printer > /etc/new; mv /etc/new /etc/hosts")
    assert "printer" in a.run("getent", "hosts", "printer").stdout
    assert "printer" not in b.path("/etc/hosts").read_text()
    assert "printer" not in Path("/etc/hosts").read_text()


def test_host_names_home_and_path(lab: Lab) -> None:
    a = lab.host("laptop-a")
    assert a.run("uname", "-n").stdout == "laptop-a\n"
    a.path("~/.config").mkdir()
    a.path("~/.config/x").write_text("mine")
    assert a.run("sh", "-c", 'cat "$HOME/.config/x"').stdout == "mine"
    assert a.run("pwd").stdout.strip() == str(a.home)
    assert a.environment["PATH"].split(":")[0].endswith(".venv/bin")
    assert a.run("sh", "-c", "echo $COLOUR", env={"COLOUR": "blue"}).stdout == "blue\n"
    with pytest.raises(LabError, match="must start with"):
        a.path("relative")


def test_wireguard_of_the_same_name_on_two_hosts(lab: Lab) -> None:
    hosts = lab.host("a"), lab.host("b")
    for number, host in enumerate(hosts):
        host.run("wireguard-go", "wg0")
        host.run("wg", "set", "wg0", "listen-port", 1000 + number)
    for number, host in enumerate(hosts):
        assert host.run("wg", "show", "wg0", "listen-port").stdout == f"{1000 + number}\n"
    assert hosts[0].kill("wireguard-go") == 1
    assert hosts[1].run("wg", "show", "interfaces").stdout == "wg0\n"


def test_a_name_can_be_used_once(lab: Lab) -> None:
    lab.host("a")
    with pytest.raises(LabError, match="host a already"):
        lab.host("a")
    with pytest.raises(LabError, match="host a has no link"):
        _ = lab.hosts["a"].ipv4

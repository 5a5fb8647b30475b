"""Machines: what the owner does inside of them, from where it is."""

import subprocess
from pathlib import Path

import pytest

from lab import Lab, LabError

pytestmark = pytest.mark.lab


def test_settings_are_the_machines_own(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    a.sysctl({"ipv4.ip_forward": 1})
    b.sysctl({"ipv4.ip_forward": 0})
    assert a.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n"
    assert b.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "0\n"


def test_a_tool_that_fails_or_is_missing_says_so(lab: Lab) -> None:
    host = lab.host("a")
    with pytest.raises(LabError, match=r"a: nft -f - failed\n(.|\n)*syntax error"):
        host.nft("nonsense")
    with pytest.raises(LabError, match="needs the program no-such-tool; install"):
        host.machine.tool(["no-such-tool"])


def test_the_owner_stays_where_it_is(lab: Lab) -> None:
    own = {kind: Path(f"/proc/thread-self/ns/{kind}").readlink() for kind in ("net", "pid", "pid_for_children")}
    host = lab.host("a")
    host.run("true")
    with pytest.raises(FileNotFoundError), host.machine.network():
        Path("/nonexistent").read_text()
    assert own == {kind: Path(f"/proc/thread-self/ns/{kind}").readlink() for kind in own}


def test_a_name_that_the_kernel_refuses_is_an_error_and_the_lab_goes_on(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"Invalid argument|too long"):
        lab.host("x" * 100)
    assert lab.host("a").run("uname", "-n").stdout == "a\n"


def test_a_dead_keeper_is_an_error(lab: Lab) -> None:
    host = lab.host("a")
    keeper = int(Path(f"/proc/{host.machine.init}/status").read_text().split("PPid:")[1].split()[0])
    subprocess.run(["kill", "-KILL", str(keeper)], check=True)
    with pytest.raises(LabError, match="keeper process"):
        lab.host("b")

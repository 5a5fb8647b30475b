"""The systemd units: what each must promise."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = ("vpn-server", "vpn-client", "vpn-relay")
UNITS = Path(__file__).resolve().parents[2] / "packaging" / "systemd"


def directives(program: str) -> dict[str, list[str]]:
    """Every directive of a unit with all its values, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / f"{program}.service").read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("program", ["vpn-server", "vpn-relay"])
def test_server_and_relay_run_unprivileged_with_their_state_to_themselves(program: str) -> None:
    unit = directives(program)
    assert unit["DynamicUser"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["AmbientCapabilities"] == [""]
    assert unit["StateDirectoryMode"] == ["0700"]
    assert f"HOME=%S/{unit['StateDirectory'][0]}" in unit["Environment"]


@pytest.mark.parametrize("program", ["vpn-server", "vpn-relay"])
def test_what_ends_its_relay_process_in_order_is_told_first(program: str) -> None:
    assert directives(program)["KillMode"] == ["mixed"]


def test_stopping_the_agent_leaves_wireguard_go_and_its_sockets() -> None:
    unit = directives("vpn-client")
    assert unit["KillMode"] == ["process"]
    assert unit["RuntimeDirectoryPreserve"] == ["yes"]
    assert "wireguard" in unit["RuntimeDirectory"][0].split()


def test_the_agent_has_the_network_capabilities_only_and_may_open_tun() -> None:
    unit = directives("vpn-client")
    assert unit["CapabilityBoundingSet"] == ["CAP_NET_ADMIN CAP_NET_RAW"]
    assert unit["DeviceAllow"] == ["/dev/net/tun rw"]
    assert "PrivateDevices" not in unit


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_failure_restarts_and_a_clean_end_or_a_wrong_flag_does_not(program: str) -> None:
    unit = directives(program)
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == ["2"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_single_file_unpacks_where_only_the_unit_writes(program: str) -> None:
    unit = directives(program)
    assert f"SHIV_ROOT=%C/{unit['CacheDirectory'][0]}" in unit["Environment"]
    assert unit["CacheDirectoryMode"] == ["0700"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("program", PROGRAMS)
def test_systemd_understands_every_line(program: str, tmp_path: Path) -> None:
    text = (UNITS / f"{program}.service").read_text().replace(f"/usr/local/bin/{program}", "/bin/true")
    unit = tmp_path / f"{program}.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, check=False, text=True
    )
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []
    assert done.returncode == 0

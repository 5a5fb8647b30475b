"""The journal on disk."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.system import journal as journals
from wireguard_mesh.system.journal import (
    AddressEntry,
    Entry,
    FirewallEntry,
    Journal,
    RouteEntry,
    RuleEntry,
    SysctlEntry,
    journaled_interfaces,
)

WG0 = InterfaceName("wg0")
ENTRIES: tuple[Entry, ...] = (
    AddressEntry(text="10.100.0.7/16"),
    RouteEntry(text="fd00::/64", table=254),
    RuleEntry(version=4, table=51820, fwmark=51820, priority=32765),
    RuleEntry(version=4, table=254, fwmark=None, priority=32764),
    SysctlEntry(path="net/ipv4/ip_forward", value="1", expected="1", previous="0", purpose="forwarding"),
    SysctlEntry(path="net/ipv4/conf/eth0.5/forwarding", value=None, expected="0", previous="1", purpose="forwarding"),
    FirewallEntry(table="wireguard_mesh_wg0", rules="table inet x {\n}\n"),
)


def test_what_is_written_is_read_by_another_run(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "wireguard-mesh"
    journal = Journal(directory, WG0)
    assert not journal.exists
    journal.write(ENTRIES)
    again = Journal(directory, WG0)
    assert again.exists
    assert again.entries == ENTRIES
    assert (directory / "wg0.journal.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in directory.iterdir()] == ["wg0.journal.json"]
    assert journaled_interfaces(directory) == {WG0}
    again.forget()
    again.forget()
    assert not Journal(directory, WG0).exists
    assert journaled_interfaces(directory) == frozenset()
    assert journaled_interfaces(tmp_path / "none") == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"more": 1},
        {"entries": [{"type": "reboot"}]},
        {"entries": [{"type": "address", "text": "here"}]},
        {"entries": [{"type": "route", "text": "10.0.0.1/8", "table": 254}]},
        {"entries": [{"type": "sysctl", "path": "net/ipv4/../../kernel/x", "value": "1", "expected": "1"}]},
        {
            "entries": [
                {
                    "type": "sysctl",
                    "path": "net/ipv4/../../kernel/core_pattern",
                    "value": "1",
                    "expected": "1",
                    "previous": "0",
                    "purpose": "exit",
                }
            ]
        },
    ],
)
def test_what_is_no_journal_of_ours_is_put_aside(
    tmp_path: Path, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "wg0.journal.json"
    written = json.dumps({"format": 1, "interface": "wg0", "entries": [], **change})
    path.write_text(written)
    assert not Journal(tmp_path, WG0).exists
    assert (tmp_path / "wg0.journal.json.broken").read_text() == written
    assert not path.exists()
    assert "put aside" in caplog.text


@given(st.binary(max_size=300))
def test_nothing_on_disk_makes_it_fail(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("journal")
    (directory / "wg0.journal.json").write_bytes(data)
    assert Journal(directory, WG0).entries == ()


def test_one_that_is_too_long_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(tmp_path, WG0).write(ENTRIES)
    monkeypatch.setattr(journals, "MAX_SIZE", 100)
    assert not Journal(tmp_path, WG0).exists


def test_where_it_cannot_be_written_nothing_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "none", WG0)
    journal._directory = tmp_path / "file"
    journal._path = tmp_path / "file" / "wg0.journal.json"
    with pytest.raises(Unavailable, match="cannot write"):
        journal.write(ENTRIES)
    assert journal.entries == ()
    (tmp_path / "wg1.journal.json").mkdir()
    with pytest.raises(Unavailable, match="cannot read"):
        Journal(tmp_path, InterfaceName("wg1"))

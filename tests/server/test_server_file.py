"""The file that holds the server's secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.protocol.relay_keys import RelayKey
from wireguard_mesh.server.server_file import fields_of, make_relay_key, read_file, relay_key_of, write_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "server.json"


def test_where_there_is_no_file_nothing_is_known(file: Path) -> None:
    assert read_file(file) is None
    assert fields_of(file) == {}
    assert relay_key_of(file) is None


def test_a_relay_key_is_kept_with_all_else_for_the_owner_only(file: Path) -> None:
    write_file(file, {"listen_addr": ":1", "comment": "ours"})
    assert relay_key_of(file) is None
    first = make_relay_key(file)
    kept = relay_key_of(file)
    assert kept is not None
    assert kept.to_text() == first.to_text()
    assert fields_of(file) == {"listen_addr": ":1", "comment": "ours", "relay_key": first.to_text()}
    assert file.stat().st_mode & 0o777 == 0o600
    second = make_relay_key(file, lambda size: bytes(size))
    assert second.to_text() == RelayKey(bytes(32)).to_text() != first.to_text()


def test_a_damaged_relay_key_is_said_and_not_shown(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"relay_key": "relay-secret"}))
    with pytest.raises(InvalidValue, match=r"server\.json: .*that is no relay key.*relay-key -new") as caught:
        relay_key_of(file)
    assert "relay-secret" not in str(caught.value)

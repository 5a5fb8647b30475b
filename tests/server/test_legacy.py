"""Peers of a peers.json are taken over, all or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.core.samples import empty, public_key
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.protocol.seed import rfc3339
from wireguard_mesh.server.legacy import find_legacy, take_over


def entry(seed: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"peer-{seed}",
        "public_key": public_key(seed).to_base64(),
        "virtual_ip": f"10.100.0.{seed}",
        "endpoint": "1.2.3.4:51820",
        "hostname": "Ann's Laptop",
        "os": "linux",
        "allowed_ips": [f"10.100.0.{seed}/32"],
        "exit_node": False,
        "online": True,
        "last_heartbeat": "2024-01-01T12:00:00.123456789Z",
        **fields,
    }


def written(folder: Path, document: Any) -> Path:
    path = folder / "peers.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    "document",
    [
        [entry(7), entry(3)],
        {"peers": [entry(7), entry(3)]},
        {"peers": {"peer-7": entry(7), "peer-3": entry(3)}},
        {"peer-7": {name: value for name, value in entry(7).items() if name != "id"}, "peer-3": entry(3)},
    ],
)
def test_every_shape_keeps_ids_and_addresses(tmp_path: Path, document: Any) -> None:
    legacy = find_legacy(written(tmp_path, document))
    assert legacy is not None
    assert legacy.database == tmp_path / "peers.db"
    changes, heard = take_over(legacy, empty())
    assert {record.peer.id: str(record.peer.ipv4) for record in changes.added} == {
        "peer-7": "10.100.0.7",
        "peer-3": "10.100.0.3",
    }
    first = changes.added[0]
    assert (first.number, first.signed, first.peer.online, first.peer.hostname) == (7, False, False, "anns-laptop")
    assert [str(endpoint) for endpoint in first.peer.endpoints] == ["1.2.3.4:51820"]
    assert heard[0][0] == public_key(7)
    assert int(heard[0][1]) == 1704110400
    assert changes.revision == 1
    Snapshot.of(epoch="e", network=empty().network, records=changes.added)


def test_what_is_no_longer_usable_but_not_needed_is_dropped(tmp_path: Path) -> None:
    legacy = find_legacy(
        written(tmp_path, [entry(1, endpoint=":51820", last_heartbeat="never", virtual_ip="10.100.0.1/16")])
    )
    assert legacy is not None
    changes, heard = take_over(legacy, empty())
    assert changes.added[0].peer.endpoints == ()
    assert heard == [(public_key(1), 0.0)]


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2024-01-01T12:00:00", ""],
)
def test_any_time_can_be_shown_again(tmp_path: Path, moment: str) -> None:
    legacy = find_legacy(written(tmp_path, [entry(1, last_heartbeat=moment)]))
    assert legacy is not None
    ((_, heard),) = take_over(legacy, empty())[1]
    assert heard >= 0
    assert rfc3339(heard).endswith("Z")


def test_what_is_null_is_missing_and_what_is_shown_is_harmless(tmp_path: Path) -> None:
    fields = {"endpoint": None, "hostname": None, "os": "lin\x1b[2Jux", "exit_node": None, "last_heartbeat": None}
    legacy = find_legacy(written(tmp_path, [entry(1, **fields)]))
    assert legacy is not None
    (record,) = take_over(legacy, empty())[0].added
    assert (record.peer.os, record.peer.hostname, record.peer.endpoints) == ("lin[2Jux", "machine", ())


@pytest.mark.parametrize("data", [b"", b" \n", b"null", b"\xef\xbb\xbf[]", b"\xef\xbb\xbf"])
def test_other_ways_to_write_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(data)
    legacy = find_legacy(path)
    assert legacy is not None
    assert (legacy.peers, legacy.database) == ((), tmp_path / "peers.db")


def test_json_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text("[" * 200_000)
    with pytest.raises(InvalidValue, match="no list of peers"):
        find_legacy(path)


@pytest.mark.parametrize("document", [[], {}, {"peers": []}, {"peers": None}])
def test_no_peers_are_no_fault(tmp_path: Path, document: Any) -> None:
    legacy = find_legacy(written(tmp_path, document))
    assert legacy is not None
    assert legacy.peers == ()


@pytest.mark.parametrize("document", [{"a": 1}, [1], [{"id": "x"}], {"peers": 5}])
def test_json_that_is_no_list_of_peers_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(InvalidValue, match="neither a database nor a list of peers"):
        find_legacy(written(tmp_path, document))


def test_broken_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_text("[{")
    with pytest.raises(InvalidValue, match="neither a database nor a list of peers"):
        find_legacy(path)


@pytest.mark.parametrize(
    ("peers", "says"),
    [
        ([entry(1), entry(2, public_key="x")], "peer 2: a WireGuard key is"),
        ([entry(1, virtual_ip="10.9.0.1")], "peer 1: 10.9.0.1 is no host address of 10.100.0.0/24"),
        ([entry(1, virtual_ip="")], "peer 1: '' is no IPv4 address"),
        ([entry(1, id="")], "peer 1: this is no usable peer id"),
        ([entry(1), entry(2, virtual_ip="10.100.0.1")], "two peers have one address"),
        ([entry(1), entry(2, id="peer-1")], "two peers have one id"),
        ([entry(1), entry(2, public_key=public_key(1).to_base64())], "two peers have one key"),
    ],
)
def test_a_peer_that_cannot_be_taken_over_is_named(tmp_path: Path, peers: list[Any], says: str) -> None:
    legacy = find_legacy(written(tmp_path, peers))
    assert legacy is not None
    with pytest.raises(InvalidValue) as caught:
        take_over(legacy, empty())
    assert says in str(caught.value)


def test_databases_and_nothing_are_left_alone(tmp_path: Path) -> None:
    assert find_legacy(tmp_path / "missing.db") is None
    path = tmp_path / "peers.db"
    path.write_bytes(b"SQLite format 3\x00")
    assert find_legacy(path) is None
    path.write_bytes(b"")
    assert find_legacy(path) is None
    with pytest.raises(Unavailable, match="Is a directory"):
        find_legacy(tmp_path)


def test_a_json_file_that_is_called_a_database_gets_one_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "peers.db"
    path.write_text("[]")
    legacy = find_legacy(path)
    assert legacy is not None
    assert legacy.database == tmp_path / "peers.db.db"

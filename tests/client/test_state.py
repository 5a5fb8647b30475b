import json
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from tests.client.conftest import network_map
from tests.samples import private_key, public_key
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.servers import ServerAddress

FULL = ClientState(
    private_key=private_key(1),
    server=ServerAddress("https", "vpn.example.com", 443, "/mesh"),
    interface=InterfaceName("mesh0"),
    peer_id="peer-000001",
    assigned_ip=IPv4Address("10.100.0.1"),
    exit_node=True,
    listen_port=4242,
    use_exit_node="gate",
    hostname="one",
    server_public_key=public_key(9),
    server_ips=(ip_address("192.0.2.1"), ip_address("2001:db8::1")),
)
MAP = network_map(2, revision=7)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def plain(folder: StateFolder) -> dict[str, object]:
    found: dict[str, object] = json.loads(folder.path.read_text())
    return found


def spoil(folder: StateFolder, **fields: object) -> None:
    folder.save(FULL)
    folder.path.write_text(json.dumps({**plain(folder), **fields}))


@pytest.mark.parametrize("state", [FULL, ClientState(private_key=private_key(2))])
def test_keeps_what_it_was_given(folder: StateFolder, state: ClientState) -> None:
    assert folder.load() is None
    folder.save(state)
    assert folder.load() == state


def test_is_for_its_owner_only(folder: StateFolder) -> None:
    folder.save(FULL)
    folder.save_map(MAP, public_key(1), public_key(9))
    assert folder.folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (folder.path, folder.map_path)] == [0o600, 0o600]
    assert sorted(path.name for path in folder.folder.iterdir()) == ["client.json", "map.json"]


def test_the_fields_of_the_file_are_those_that_other_programs_know(folder: StateFolder) -> None:
    folder.save(FULL)
    expected = {
        "server_addr": "https://vpn.example.com:443/mesh",
        "interface_name": "mesh0",
        "private_key": private_key(1).to_base64(),
        "public_key": public_key(1).to_base64(),
        "peer_id": "peer-000001",
        "assigned_ip": "10.100.0.1",
        "exit_node": True,
        "listen_port": 4242,
    }
    assert {name: value for name, value in plain(folder).items() if name in expected} == expected


def test_reads_a_file_with_only_those_fields(folder: StateFolder) -> None:
    folder.save(FULL)
    kept = list(plain(folder).items())[:8]
    folder.path.write_text(json.dumps(dict(kept)))
    state = folder.load()
    assert state is not None
    assert (state.peer_id, state.use_exit_node, state.server_public_key) == ("peer-000001", "auto", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"private_key": "x"},
        {"public_key": public_key(2).to_base64()},
        {"listen_port": 65536},
        {"assigned_ip": "::1"},
        {"assigned_ip": "10.100"},
        {"server_addr": "ftp://x"},
        {"interface_name": "a/b"},
        {"server_public_key": "x"},
        {"server_ips": ["x"]},
        {"exit_node": "yes"},
    ],
)
def test_what_cannot_be_read_is_refused_and_left_as_it_is(folder: StateFolder, fields: dict[str, object]) -> None:
    spoil(folder, **fields)
    before = folder.path.read_bytes()
    with pytest.raises(Conflict, match="-new-identity") as raised:
        folder.load()
    assert private_key(1).to_base64() not in str(raised.value)
    assert folder.path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 100, b"[]"])
def test_a_torn_file_is_refused(folder: StateFolder, content: bytes) -> None:
    folder.save(FULL)
    folder.path.write_bytes(content)
    with pytest.raises(Conflict):
        folder.load()


def test_a_file_that_may_not_be_read_or_is_endless_is_no_corrupt_one(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.save(FULL)
    monkeypatch.setattr("wireguard_mesh.client.files.MAX_FILE", 10)
    with pytest.raises(Unavailable, match="longer than"):
        folder.load()
    folder.path.unlink()
    folder.path.mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        folder.load()


def test_a_disk_that_does_not_let_us_leaves_what_was_there(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.save(FULL)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        folder.save(ClientState(private_key=private_key(2)))
    assert folder.load() == FULL
    assert [path.name for path in folder.folder.iterdir()] == ["client.json"]


def test_the_map_comes_back_for_the_same_peer_and_server_only(folder: StateFolder) -> None:
    assert folder.load_map(public_key(1), public_key(9)) is None
    folder.save_map(MAP, public_key(1), public_key(9))
    assert folder.load_map(public_key(1), public_key(9)) == MAP
    assert folder.load_map(public_key(2), public_key(9)) is None
    assert folder.load_map(public_key(1), public_key(8)) is None
    assert folder.load_map(public_key(1), None) is None


def test_a_map_that_cannot_be_read_is_none(folder: StateFolder) -> None:
    folder.save_map(MAP, public_key(1), public_key(9))
    for broken in ("{", "{}", folder.map_path.read_text().replace("10.100.0.2", "8.8.8.8")):
        folder.map_path.write_text(broken)
        assert folder.load_map(public_key(1), public_key(9)) is None


def test_a_copy_aside_never_takes_a_name_that_is_taken(folder: StateFolder) -> None:
    copies = []
    for number in range(1, 4):
        folder.save(ClientState(private_key=private_key(number)))
        copies.append(folder.keep_aside("left", 100.9))
    assert [copy.name for copy in copies] == [
        "client.json.left-100",
        "client.json.left-100-1",
        "client.json.left-100-2",
    ]
    assert {copy.stat().st_mode & 0o777 for copy in copies} == {0o600}
    assert copies[2].read_bytes() == folder.path.read_bytes()


@pytest.mark.parametrize("field", [{"use_exit_node": ""}, {"hostname": "no name"}])
def test_nonsense_is_told_with_the_file_that_it_is_in(folder: StateFolder, field: dict[str, object]) -> None:
    spoil(folder, **field)
    with pytest.raises(Conflict, match=r"client\.json cannot be read"):
        folder.load()


def test_leaving_keeps_the_key_and_the_decisions(folder: StateFolder) -> None:
    folder.save(FULL)
    folder.save_map(MAP, public_key(1), public_key(9))
    left = folder.forget_place(FULL)
    assert folder.load() == left
    assert (left.peer_id, left.assigned_ip, left.private_key) == ("", None, private_key(1))
    assert not folder.map_path.exists()


def test_a_place_is_a_folder_or_a_file(tmp_path: Path) -> None:
    assert StateFolder.at(tmp_path).path == tmp_path / "client.json"
    named = StateFolder.at(tmp_path / "work.json")
    assert (named.path, named.map_path) == (tmp_path / "work.json", tmp_path / "work.map.json")


def test_nothing_shows_the_key(folder: StateFolder) -> None:
    from wireguard_mesh.client.state import _to_file

    secret = private_key(1).to_base64()
    assert secret not in repr(FULL)
    assert secret not in repr(_to_file(FULL))

"""What a relay keeps on disk, and with what it starts."""

from __future__ import annotations

import os
import stat
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from tests.samples import public_key
from wireguard_mesh.client.relay_state import Given, RelayFolder, RelayState, settle
from wireguard_mesh.core.roster import Roster
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.relays import OWN_RELAY, RelayId
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.relay_keys import RelayKey

SERVER = ServerAddress.parse("http://192.0.2.1:8080")
KEY = RelayKey(bytes(range(32)))
FULL = Given(server=SERVER, relay_key=KEY)


def start(folder: RelayFolder, given: Given = FULL) -> RelayState:
    return settle(folder, given, lambda: RelayId("fra-1"), os.urandom)


@pytest.fixture
def folder(tmp_path: Path) -> RelayFolder:
    return RelayFolder.at(tmp_path / "folder")


def test_the_first_start_makes_an_identity_and_later_ones_need_no_flags(folder: RelayFolder) -> None:
    state = start(folder)
    assert (state.id, state.server, state.relay_key.to_text()) == ("fra-1", SERVER, KEY.to_text())
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o600
    again = start(folder, Given())
    assert again.private_key == state.private_key
    assert (again.id, again.server, again.relay_key.to_text()) == (state.id, SERVER, KEY.to_text())
    assert start(folder, Given(id=RelayId("ams-1"))).id == "ams-1"
    assert start(folder, Given()).id == "ams-1"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Given(relay_key=KEY), "no server is known yet; say which: vpn-relay -server"),
        (Given(server=SERVER), "no relay key is known yet; 'vpn-server relay-key' prints it"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_written(folder: RelayFolder, given: Given, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        start(folder, given)
    assert not folder.path.exists()


def test_all_that_is_known_is_kept(folder: RelayFolder) -> None:
    state = msgspec.structs.replace(
        start(folder),
        is_member=True,
        server_public_key=public_key(7),
        server_ips=(ip_address("192.0.2.1"), ip_address("2001:db8::1")),
    )
    folder.save(state)
    loaded = folder.load()
    assert loaded is not None
    assert msgspec.structs.replace(loaded, relay_key=state.relay_key) == state
    moved = start(folder, Given(server=ServerAddress.parse("http://other:8080")))
    assert (moved.server_public_key, moved.server_ips, moved.is_member) == (public_key(7), (), True)
    trusting = start(folder, Given(is_new_server=True))
    assert (trusting.server_public_key, trusting.is_member) == (None, False)


def test_a_server_that_was_protected_stays_so(folder: RelayFolder) -> None:
    start(folder, Given(server=ServerAddress.parse("https://vpn.example.com"), relay_key=KEY))
    with pytest.raises(Conflict, match="not protected by TLS"):
        start(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": str(public_key(9))},
        {"private_key": "short"},
        {"id": "Not a name"},
        {"relay_key": "relay-x"},
        {"server_ips": ["none"]},
        {"server_addr": "ftp://x"},
    ],
)
def test_an_identity_that_cannot_be_read_is_left_alone(folder: RelayFolder, change: dict[str, object]) -> None:
    start(folder)
    content = msgspec.json.decode(folder.path.read_bytes()) | change
    folder.path.write_bytes(msgspec.json.encode(content))
    before = folder.path.read_bytes()
    with pytest.raises(Conflict, match=r"cannot be read .*, and it holds this relay's key"):
        start(folder)
    assert folder.path.read_bytes() == before


def test_no_secret_is_shown(folder: RelayFolder) -> None:
    state = start(folder)
    for secret in (state.private_key.to_base64(), KEY.to_text()):
        assert secret not in repr(state)


def test_the_roster_is_that_of_this_relay_and_this_server(folder: RelayFolder) -> None:
    state = start(folder)
    assert folder.load_roster(state) is None
    state = msgspec.structs.replace(state, server_public_key=public_key(7))
    roster = Roster(epoch="e", revision=3, peers={PeerId("peer-1"): public_key(1)})
    folder.save_roster(roster, state)
    assert folder.load_roster(state) == roster
    assert folder.load_roster(msgspec.structs.replace(state, server_public_key=public_key(8))) is None
    folder.roster_path.write_bytes(b"{")
    assert folder.load_roster(state) is None


def test_several_relays_of_a_machine_have_files_of_their_own(tmp_path: Path) -> None:
    usual, other = RelayFolder.at(tmp_path), RelayFolder.at(tmp_path / "second.json")
    for folder in (usual, other):
        folder.make()
        start(folder)
    places = [(one.path, one.roster_path, one.lock_path, one.journal) for one in (usual, other)]
    assert not set(places[0]) & set(places[1])
    assert stat.S_IMODE(other.journal.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MeshError, match="cannot be written"):
        RelayFolder.at(tmp_path / "file" / "below").make()


def test_the_name_of_the_servers_own_relay_is_not_kept(folder: RelayFolder) -> None:
    with pytest.raises(InvalidValue, match="choose another one"):
        start(folder, Given(id=OWN_RELAY, server=ServerAddress.parse("http://x"), relay_key=KEY))
    assert not folder.path.exists()

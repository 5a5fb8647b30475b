"""server.json, flags and environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from tests.core.samples import private_key
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.server.config import Settings, load_settings, settle
from wireguard_mesh.server.listening import ListenAddress
from wireguard_mesh.store.location import written

NAMES = (
    "listen",
    "network",
    "db",
    "heartbeat_timeout",
    "cleanup_interval",
    "quarantine",
    "registration_burst",
    "registration_rate",
)
Load = Callable[..., Settings]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "server.json"


@pytest.fixture
def load(file: Path) -> Load:
    def loaded(environment: dict[str, str] | None = None, *, create: bool = True, **flags: str) -> Settings:
        every: dict[str, str | None] = dict.fromkeys(NAMES)
        return load_settings({**every, "config": str(file), **flags}, environment or {}, create=create)

    return loaded


def write(file: Path, **fields: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    key = private_key(1)
    known = {"private_key": key.to_base64(), "public_key": key.public_key.to_base64()}
    file.write_text(json.dumps({**known, **fields}))


def test_the_first_start_makes_a_file_with_exactly_its_fields(file: Path, load: Load) -> None:
    settings = load()
    assert json.loads(file.read_text()) == {
        "listen_addr": ":8080",
        "network_cidr": "10.100.0.0/16",
        "private_key": settings.private_key.to_base64(),
        "public_key": settings.private_key.public_key.to_base64(),
        "db_path": str(file.with_name("peers.db")),
    }
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["server.json"]
    assert load() == settings
    assert settings.private_key.to_base64() not in repr(settings)


def test_asking_for_the_status_makes_no_file(file: Path, load: Load) -> None:
    load(create=False)
    assert not file.exists()


def test_flag_before_environment_before_file_before_default(file: Path, load: Load) -> None:
    write(file, listen_addr=":1001", heartbeat_timeout=60, db_path="/x/y.db", unknown={"kept": 1})
    settings = load()
    assert (settings.listen, settings.heartbeat_timeout) == (ListenAddress("", 1001), 60.0)
    assert (settings.database, settings.network) == (Path("/x/y.db"), IPv4Network("10.100.0.0/16"))
    environment = {"VPN_SERVER_LISTEN": ":1002", "VPN_SERVER_HEARTBEAT_TIMEOUT": "2m", "VPN_SERVER_DB": ""}
    settings = load(environment)
    assert (settings.listen.port, settings.heartbeat_timeout, settings.database) == (1002, 120.0, Path("/x/y.db"))
    settings = load(environment, listen="127.0.0.1:1003", registration_burst="0", registration_rate="0")
    assert (str(settings.listen), settings.registration_burst) == ("127.0.0.1:1003", 0.0)


def test_the_file_s_network_binds_the_file_s_database_only(file: Path, load: Load) -> None:
    write(file)
    assert load().network_binding
    assert not load(db="/other.db").network_binding
    assert load(db="/other.db", network="10.9.0.0/24").network_binding


def test_settling_notes_where_the_database_is_and_keeps_the_rest(file: Path, load: Load, tmp_path: Path) -> None:
    write(file, network_cidr="10.1.0.0/24", unknown={"kept": 1})
    moved = tmp_path / "moved.db"
    settle(load(network="10.2.0.0/24"), moved)
    fields = json.loads(file.read_text())
    assert (fields["db_path"], fields["network_cidr"]) == (str(moved), "10.2.0.0/24")
    assert fields["unknown"] == {"kept": 1}
    settle(load(db="/elsewhere.db", network="10.3.0.0/24"), Path("/elsewhere.db"))
    assert json.loads(file.read_text()) == fields


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ("", "is damaged"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"listen_addr": 5}', "is damaged: listen_addr"),
        (json.dumps({"public_key": private_key(1).public_key.to_base64()}), "has no private_key"),
        ('{"private_key": "abc"}', "a WireGuard key is"),
        (json.dumps({"private_key": private_key(1).to_base64(), "public_key": "abc"}), "a WireGuard key is"),
        (
            json.dumps(
                {"private_key": private_key(1).to_base64(), "public_key": private_key(2).public_key.to_base64()}
            ),
            "does not belong to private_key",
        ),
    ],
)
def test_a_damaged_file_is_refused_and_never_written_over(file: Path, load: Load, contents: str, says: str) -> None:
    file.parent.mkdir()
    file.write_text(contents)
    with pytest.raises(InvalidValue) as caught:
        load()
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert private_key(1).to_base64() not in str(caught.value)
    assert file.read_text() == contents


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"listen": "nowhere"}, "listen: 'nowhere' is no address to listen on"),
        ({"network": "8.8.8.0/24"}, "network: 8.8.8.0/24 is not private"),
        ({"network": "10.0.0.1/24"}, "you may have meant 10.0.0.0/24"),
        ({"heartbeat_timeout": "soon"}, "heartbeat-timeout: 'soon' is no duration"),
        ({"heartbeat_timeout": "5s", "cleanup_interval": "6s"}, "not longer than the heartbeat timeout"),
        ({"cleanup_interval": "0.1s"}, "the cleanup interval is at least 1 s"),
        ({"registration_rate": "0"}, "the registration rate must be above 0"),
        ({"registration_rate": "many"}, "registration-rate: 'many' is no amount"),
        ({"registration_burst": "-1"}, "registration-burst: '-1' is no amount"),
        ({"registration_burst": "nan"}, "registration-burst: 'nan' is no amount"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_made(
    file: Path, load: Load, flags: dict[str, str], says: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        load(**flags)
    assert says in str(caught.value)
    assert not file.exists()


def test_places_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*: Is a directory"):
        load_settings({"config": str(tmp_path)}, {})
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(Unavailable, match=r"cannot (read|write) .*: Not a directory"):
        load_settings({"config": str(blocked / "server.json")}, {})


def test_a_write_that_fails_leaves_the_old_file(file: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load()
    before = file.read_text()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(Unavailable, match="No space left on device"):
        settle(settings, file.with_name("new.db"))
    assert file.read_text() == before
    assert [path.name for path in file.parent.iterdir()] == ["server.json"]


def test_a_file_with_settings_and_no_keys_gets_them_and_keeps_the_rest(file: Path, load: Load) -> None:
    file.parent.mkdir()
    file.write_text('{"listen_addr": ":1001", "unknown": 1}')
    load(create=False)
    assert file.read_text() == '{"listen_addr": ":1001", "unknown": 1}'
    settings = load()
    fields = json.loads(file.read_text())
    assert (fields["listen_addr"], fields["unknown"]) == (":1001", 1)
    assert fields["private_key"] == settings.private_key.to_base64()
    assert load() == settings


@pytest.mark.parametrize(
    "fields",
    [{"registration_burst": -1}, {"quarantine": -5}, {"cleanup_interval": 1e300}, {"connections_per_source": 1e10}],
)
def test_the_file_s_numbers_have_bounds_too(file: Path, load: Load, fields: dict[str, float]) -> None:
    write(file, **fields)
    with pytest.raises(InvalidValue, match=f"{next(iter(fields))} is out of range"):
        load()


@pytest.mark.parametrize(("timeout", "interval"), [("10s", 5.0), ("1s", 1.0), ("120s", 10.0), ("1h", 10.0)])
def test_the_interval_follows_the_timeout(load: Load, timeout: str, interval: float) -> None:
    assert load(heartbeat_timeout=timeout).cleanup_interval == interval


@pytest.mark.parametrize("text", ["~no-such-user/x", "a\0b"])
def test_a_place_that_cannot_be_is_said(file: Path, load: Load, text: str) -> None:
    with pytest.raises(InvalidValue, match="is no place for a file"):
        load(db=text)
    with pytest.raises(InvalidValue, match="is no place for a file"):
        load_settings({"config": text}, {})
    write(file, db_path=text)
    with pytest.raises(InvalidValue, match="is no place for a file"):
        load()


def test_a_database_has_one_name(load: Load, tmp_path: Path) -> None:
    (tmp_path / "alias.db").symlink_to(tmp_path / "real.db")
    assert load(db=str(tmp_path / "alias.db")).database == tmp_path / "real.db"


def test_a_url_is_kept_as_it_was_given_and_shown_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://ann:s3cret@db.example.com/mesh"
    file = tmp_path / "server.json"
    settings = load_settings({"config": str(file), "db": None}, {"VPN_SERVER_DB": url})
    assert written(settings.database) == url
    assert "s3cret" not in f"{settings} {settings!r}"
    assert file.stat().st_mode & 0o777 == 0o600
    settle(settings, settings.database)
    again = load_settings({"config": str(file)}, {})
    assert again.database == settings.database
    assert again.network_binding


def test_whether_and_where_it_relays_is_said_by_flag_environment_and_file(file: Path, load: Load) -> None:
    assert (load().udp, load().relay_address) == (True, "")
    assert not load(udp="off").udp
    assert not load({"VPN_SERVER_UDP": "off"}, udp=None).udp
    write(file, udp=False, relay_address="vpn.example.com")
    assert (load().udp, load().relay_address) == (False, "vpn.example.com")
    assert load(udp="on", relay_address="[2001:db8::1]").relay_address == "2001:db8::1"
    for flags in ({"udp": "perhaps"}, {"relay_address": "vpn example"}, {"relay_address": "http://x/"}):
        with pytest.raises(InvalidValue, match=r"(udp|relay-address): "):
            load(**flags)

"""The journal: what it keeps, and what it makes of files that are not as they were."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.samples import public_key
from wireguard_mesh.core.forwarding_routes import SavedRoute
from wireguard_mesh.core.rendezvous import SavedSession
from wireguard_mesh.core.sources import UdpSource
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.relay.journal import GENERATION_SECONDS, Journal

ROUTES = [SavedRoute(public_key(1), public_key(2), 5, 1000.5), SavedRoute(public_key(2), public_key(1), 2**32 - 1, 1.0)]


def session(number: int, source: UdpSource = ("192.0.2.1", 51820)) -> SavedSession:
    return SavedSession(
        public_key=public_key(number),
        vantage=number % 2,
        index=number,
        receiving_key=bytes([number]) * 32,
        counter=7,
        created=1000.5,
        timestamp=bytes(12),
        source=source,
    )


SESSIONS = [session(1), session(2, ("::ffff:192.0.2.1", 51820, 0, 0)), session(3, ("fe80::1", 1, 0, 3))]


def journal(folder: Path, **options: int) -> Journal:
    return Journal(folder, OWN_RELAY, **options)


def file(folder: Path) -> Path:
    return folder / "relay-server.journal"


def written(folder: Path) -> Journal:
    made = journal(folder)
    made.begin(SESSIONS[:1], ROUTES[:1], 0.0)
    made.append(SESSIONS[1:], [])
    made.append([], ROUTES[1:])
    return made


def test_what_was_kept_is_read(tmp_path: Path) -> None:
    made = written(tmp_path)
    assert journal(tmp_path).read() == (SESSIONS, ROUTES), "also while it is written"
    made.close()
    made.close()
    assert journal(tmp_path).read() == (SESSIONS, ROUTES)


def test_nothing_was_kept(tmp_path: Path) -> None:
    assert journal(tmp_path).read() == ([], [])


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    written(tmp_path).turn(GENERATION_SECONDS)
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_two_generations_are_kept_and_no_more(tmp_path: Path) -> None:
    made = written(tmp_path)
    made.turn(GENERATION_SECONDS - 1)
    assert len(list(tmp_path.iterdir())) == 1
    made.turn(GENERATION_SECONDS)
    made.append([session(4)], [])
    assert journal(tmp_path).read() == ([*SESSIONS, session(4)], ROUTES)
    made.turn(2 * GENERATION_SECONDS)
    made.append([session(5)], [])
    assert journal(tmp_path).read() == ([session(4), session(5)], [])
    assert len(list(tmp_path.iterdir())) == 2


def test_to_begin_anew_forgets_the_rest(tmp_path: Path) -> None:
    made = written(tmp_path)
    made.turn(GENERATION_SECONDS)
    made.begin([session(9)], [], 200.0)
    assert journal(tmp_path).read() == ([session(9)], [])
    assert [path.name for path in tmp_path.iterdir()] == [file(tmp_path).name]


def test_a_file_that_grows_too_long_says_so(tmp_path: Path) -> None:
    made = journal(tmp_path, max_bytes=500)
    made.begin([], [], 0.0)
    made.append(SESSIONS, ROUTES)
    assert made.is_too_long is True
    made.begin([], [], 0.0)
    assert made.is_too_long is False


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_torn_end_costs_the_last_record_only(tmp_path: Path, data: st.DataObject) -> None:
    written(tmp_path).close()
    whole = file(tmp_path).read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    file(tmp_path).write_bytes(whole[:length])
    sessions, routes = journal(tmp_path).read()
    assert sessions == SESSIONS[: len(sessions)]
    assert routes == ROUTES[: len(routes)]
    assert len(sessions) + len(routes) < len(SESSIONS) + len(ROUTES)
    file(tmp_path).unlink()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0), st.binary(min_size=1, max_size=300))
def test_garbage_is_not_believed(tmp_path: Path, at: int, garbage: bytes) -> None:
    written(tmp_path).close()
    whole = file(tmp_path).read_bytes()
    at %= len(whole)
    file(tmp_path).write_bytes(whole[:at] + garbage + whole[at + len(garbage) :])
    sessions, routes = journal(tmp_path).read()
    assert all(each in SESSIONS for each in sessions)
    assert all(each in ROUTES for each in routes)
    file(tmp_path).write_bytes(garbage)
    assert journal(tmp_path).read() == ([], [])
    file(tmp_path).unlink()


V4, V6 = "192.0.2.1", "2001:db8::1"


@pytest.mark.parametrize(
    "source",
    [
        [],
        [V4],
        [V4, 0],
        [V4, 70000],
        [1, 2],
        [V4, 1, 2],
        [V6, 1, 2, "b"],
        ["a", 1],
        [V6, 1],
        [V4, 1, 0, 0],
        ["a", 1, 0, 0],
        [V6, 1, -1, 0],
        [V6, 1, 0, 2**32],
    ],
)
def test_a_source_that_is_none_ends_the_reading(tmp_path: Path, source: list[object]) -> None:
    made = written(tmp_path)
    made.append([session(8, tuple(source))], [])  # type: ignore[arg-type]  # that is the point
    made.append([session(9)], [])
    assert journal(tmp_path).read() == (SESSIONS, ROUTES)


def test_a_link_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = tmp_path / "elsewhere"
    written(tmp_path).close()
    file(tmp_path).rename(elsewhere)
    file(tmp_path).symlink_to(elsewhere)
    assert journal(tmp_path).read() == ([], [])
    assert "cannot read" in caplog.text
    journal(tmp_path).begin([session(5)], [], 0.0)
    assert not file(tmp_path).is_symlink()
    assert journal(tmp_path).read() == ([session(5)], [])


def test_a_disk_that_fails_is_said_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "later"
    made = journal(folder)
    with caplog.at_level(logging.WARNING):
        made.begin(SESSIONS, ROUTES, 0.0)
        made.append(SESSIONS, ROUTES)
        made.turn(GENERATION_SECONDS)
        assert len(caplog.records) == 1
    folder.mkdir()
    made.turn(2 * GENERATION_SECONDS)
    made.append(SESSIONS, ROUTES)
    assert journal(folder).read() == (SESSIONS, ROUTES)


def test_a_full_disk_ends_this_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = written(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.write", _full)
        made.append([session(6)], [])
    made.append([session(7)], [])
    assert journal(tmp_path).read() == (SESSIONS, ROUTES)
    made.turn(GENERATION_SECONDS)
    made.append([session(8)], [])
    assert journal(tmp_path).read() == ([*SESSIONS, session(8)], ROUTES)


def _full(_file: int, _data: bytes) -> int:
    raise OSError(28, "No space left on device")

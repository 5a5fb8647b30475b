"""vpn-server db as processes, beside servers that run: what is lost, what is said, what a crash leaves."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from ipaddress import IPv4Network
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_server import COMMAND, CONNECTIONS, Ledger, Process, register_until_killed, run, started
from tests.core.samples import private_key, public_key, register
from tests.databases import POSTGRESQL, SQLITE, Databases
from tests.store.test_store import opened
from tests.store.test_transfer import tables_of, without_history
from wireguard_mesh.core.registry import decide
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.protocol.signatures import Signer, make_nonce
from wireguard_mesh.store.location import Location, PostgresUrl
from wireguard_mesh.store.store import Birth

SECRET = "hunter2"
PATIENCE = 30.0
INTERRUPTED = 130
AS_INSTALLED = [sys.executable, "-c", "from wireguard_mesh.cli.entry import vpn_server; vpn_server()"]


def text_of(location: Location) -> str:
    return location.dsn if isinstance(location, PostgresUrl) else str(location)


def file_of(folder: Path) -> Path:
    return folder / ".config/wireguard-mesh/server.json"


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith("vpn-server: ")
    return done.stderr


def join(process: Process, seed: int) -> tuple[str, str]:
    """Registers as an agent does: its address, and the map's version."""
    _, server = process.ask("GET", "/v1/server")
    signer = Signer(private_key(seed), PublicKey.from_base64(server["server_public_key"]))
    body = b'{"hostname":"a"}'
    nonce = make_nonce(server["instance"], os.urandom(16).hex())
    headers = signer.sign("POST", "/v1/register", body, now=time.time(), nonce=nonce)
    with closing(http.client.HTTPConnection("127.0.0.1", process.port, timeout=PATIENCE)) as connection:
        connection.request("POST", "/v1/register", body, headers)
        answer = json.loads(connection.getresponse().read())
    return answer["me"]["ipv4"], answer["map"]["epoch"]


def test_without_a_command_it_shows_help(tmp_path: Path) -> None:
    lines = said(run(tmp_path, "db"))
    assert lines[0].startswith("Usage: vpn-server db ")
    for command in ("copy", "backup", "restore"):
        assert any(line.startswith(f"  {command} ") for line in lines)
        assert "PGPASSWORD" in run(tmp_path, "db", command, "-help").stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["copy", "{url}"], 2, "Missing argument 'DST'"),
        (["copy", "{url}", "b.db", "{url}"], 2, "unexpected extra argument"),
        (["{url}"], 2, "No such command"),
        (["backup"], 2, "Missing argument 'FILE'"),
        (["backup", "-unknown", "x"], 2, "No such option"),
        (["backup", "-db", "mysql://u:{secret}@h/d", "x"], 1, "mysql:// is no database of ours"),
        (["backup", "-db", "{url}", "x"], 1, "cannot reach the database postgresql://u@127.0.0.1:1/d"),
        (["restore", "-db", "{url}", "{backup}"], 1, "cannot reach the database postgresql://u@127.0.0.1:1/d"),
        (["copy", "{url}", "b.db"], 1, "cannot reach the database postgresql://u@127.0.0.1:1/d"),
        (["copy", "{backup}", "{url}"], 1, "cannot reach the database postgresql://u@127.0.0.1:1/d"),
        (["copy", "{backup}", "postgresql://u@127.0.0.1:1/d?password={secret}"], 1, "cannot reach the database"),
        (["copy", "{backup}", "postgresql://u:{secret}/x@h/d"], 1, "the URL of the database cannot be understood"),
        (["copy", "nowhere.db", "b.db"], 1, "there is no mesh in"),
        (["copy", "{backup}", "/proc/b.db"], 1, "cannot write /proc/b.db"),
        (["backup", "x"], 1, "there is no mesh in"),
        (["restore", "nowhere.db"], 1, "there is no mesh in"),
        (["restore", "{text}"], 1, "is no SQLite database"),
        (["restore", "{foreign}"], 1, "foreign.db is a database of another program"),
        (["restore", "{newer}"], 1, "the database was made by a newer vpn-server"),
        (["restore", "/tmp"], 1, "/tmp is no regular file"),
        (["restore", "-config", "{text}", "{backup}"], 1, "text is damaged"),
        (["restore", "-db", "/dev/null/x", "{backup}"], 1, "cannot read /dev/null/x: Not a directory"),
    ],
)
def test_what_is_wrong_is_one_line_without_passwords(
    tmp_path: Path, backup: Path, arguments: list[str], code: int, says: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    places = {name: str(tmp_path / name) for name in ("text", "foreign.db", "newer.db")}
    Path(places["text"]).write_text("neither one nor the other " * 100)
    with closing(sqlite3.connect(places["foreign.db"])) as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")
    shutil.copy(backup, places["newer.db"])
    with closing(sqlite3.connect(places["newer.db"], isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    values = {
        "url": f"postgresql://u:{SECRET}@127.0.0.1:1/d",
        "secret": SECRET,
        "backup": str(backup),
        **{name.partition(".")[0]: place for name, place in places.items()},
    }
    before = (Path(places["text"]).read_bytes(), Path(places["newer.db"]).read_bytes(), backup.read_bytes())
    done = run(home, "-log-level", "debug", "db", *[argument.format(**values) for argument in arguments])
    said_all = done.stdout + done.stderr
    assert SECRET not in said_all
    (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("vpn-server: ")]
    assert (done.returncode, done.stdout) == (code, "")
    assert says in complaint
    assert "Traceback" not in said_all
    assert before == (Path(places["text"]).read_bytes(), Path(places["newer.db"]).read_bytes(), backup.read_bytes())
    assert list(home.iterdir()) == []


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a server with one peer."""
    folder = tmp_path_factory.mktemp("backup")
    with started(folder) as process:
        join(process, 1)
        said(run(folder, "db", "backup", str(folder / "backup.db")))
    return folder / "backup.db"


# --- beside a server ----------------------------------------------------------------------------------------------


def test_a_backup_of_a_busy_server_has_all_that_was_acknowledged_before(tmp_path: Path, location: Location) -> None:
    ledger, stop = Ledger(), threading.Event()
    keys = takewhile(lambda _: not stop.is_set(), count(1))
    with started(tmp_path, "-db", text_of(location), "-log-level", "warning", "-registration-burst", "0") as process:
        threads = [
            threading.Thread(target=register_until_killed, args=(process.port, keys, ledger, 100))
            for _ in range(CONNECTIONS // 4)
        ]
        for thread in threads:
            thread.start()
        try:
            assert ledger.enough.wait(PATIENCE)
            with ledger.lock:
                before = dict(ledger.acknowledged)
            (first, second) = said(run(tmp_path, "-db", text_of(location), "db", "backup", str(tmp_path / "b.db")))
            with ledger.lock:
                after = len(ledger.acknowledged)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert process.popen.poll() is None
        assert process.ask("GET", "/v1/health")[0] == 200
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        found = dict(connection.execute("SELECT public_key, id FROM peers").fetchall())
    assert {key: found.get(key) for key in before} == {key: peer_id for key, (peer_id, _) in before.items()}
    assert len(before) <= len(found)
    assert after > len(before)  # it went on meanwhile
    assert first == f"backed up {len(found)} peers from {location} to {tmp_path / 'b.db'}"
    assert second == f"keep {file_of(tmp_path)} as well: it holds the server's key"
    assert (tmp_path / "b.db").stat().st_mode & 0o777 == 0o600


def test_a_restored_server_gives_the_same_addresses_in_a_new_epoch(tmp_path: Path, location: Location) -> None:
    chosen = ("-db", text_of(location))
    file = str(tmp_path / "b.db")
    with started(tmp_path, *chosen, "-network", "10.7.0.0/24") as process:
        (first, epoch), (second, _) = join(process, 1), join(process, 2)
        said(run(tmp_path, *chosen, "db", "backup", file))
        third, _ = join(process, 3)
        assert len({first, second, third}) == 3
        complaint = refused(run(tmp_path, "db", "restore", *chosen, "-force", file))
        assert "vpn-server uses this database" in complaint or "a vpn-server serves the database" in complaint
        assert "; stop " in complaint
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
    before = await_tables(location)
    complaint = refused(run(tmp_path, "db", "restore", *chosen, file))
    assert "has peers: 3; with -force they are backed up" in complaint
    assert await_tables(location) == before
    lines = said(run(tmp_path, "db", "restore", *chosen, "-force", file))
    assert lines[0].startswith(f"restored 2 peers from {file} to {location}; what was there is kept as /")
    assert lines[1:] == [f"start the server: vpn-server -db {quoted(location)}"]
    kept = Path(lines[0].rpartition(" ")[2])
    assert await_tables(kept) == without_history(before)
    assert kept.parent == (location.parent if isinstance(location, Path) else file_of(tmp_path).parent)
    with started(tmp_path, *chosen) as process:
        assert process.banner[1].startswith("Network:       10.7.0.0/24")
        again, new_epoch = join(process, 2)
        assert (again, join(process, 1)[0]) == (second, first)
        assert new_epoch != epoch
        assert join(process, 3)[1] == new_epoch


def quoted(location: Location) -> str:
    return f"'{location}'" if isinstance(location, PostgresUrl) else str(location)


def await_tables(location: Location) -> dict[str, list[dict[str, Any]]]:
    return asyncio.run(tables_of(location))


def test_a_mesh_moves_to_postgresql_and_back_unnoticed(tmp_path: Path, databases: Databases) -> None:
    file, url, back = tmp_path / "peers.db", databases.new(POSTGRESQL), tmp_path / "back.db"
    with started(tmp_path, "-db", str(file)) as process:
        first = join(process, 1)
        assert "stop it first" in refused(run(tmp_path, "db", "copy", str(file), text_of(url)))
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
    before = await_tables(file)
    lines = said(run(tmp_path, "db", "copy", str(file), text_of(url)))
    assert lines == [
        f"copied 1 peer from {file} to {url}",
        f"start the server with it, with the same server.json: vpn-server -db {quoted(url)}",
    ]
    assert "is not empty" in refused(run(tmp_path, "db", "copy", str(file), text_of(url)))
    assert await_tables(file) == before
    with started(tmp_path, "-db", text_of(url)) as process:
        assert join(process, 1) == first
        wait_until(lambda: "serves the database" in run(tmp_path, "db", "copy", text_of(url), str(back)).stderr)
        assert not back.exists()
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
    said(run(tmp_path, "db", "copy", text_of(url), str(back)))
    assert await_tables(back) == without_history(await_tables(url))
    with started(tmp_path, "-db", str(back)) as process:
        assert join(process, 1) == first


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline


def test_a_machine_that_is_new_takes_over_with_a_backup(tmp_path: Path, backup: Path) -> None:
    """Only the backup was saved, so the key is another one, and the network is said to the next start."""
    own = tmp_path / "own"
    with started(own_home(own), "-network", "10.9.0.0/24") as process:
        _, epoch = join(process, 5)
        said(run(own, "db", "backup", str(own / "b.db")))
    new = own_home(tmp_path / "new")
    done = run(new, "db", "restore", str(own / "b.db"))
    assert done.returncode == 0
    key = json.loads(file_of(own).read_text())["public_key"]
    assert done.stderr.startswith(f"vpn-server: warning: the backup is of the server with the public key {key}, and ")
    assert "its clients will refuse this server" in done.stderr
    assert done.stdout.splitlines()[-1] == "start the server: vpn-server"
    assert json.loads(file_of(new).read_text())["network_cidr"] == "10.9.0.0/24"
    with started(new) as process:
        assert process.banner[1].startswith("Network:       10.9.0.0/24")
        assert join(process, 5)[1] != epoch
    owner = file_of(new).parent.stat().st_uid
    assert {path.stat().st_uid for path in file_of(new).parent.iterdir()} == {owner}
    # With server.json, as it is to be.
    shutil.copy(file_of(own), file_of(new))
    assert said(run(new, "db", "restore", "-force", str(own / "b.db")))[0].startswith("restored 1 peer ")


def own_home(folder: Path) -> Path:
    folder.mkdir()
    return folder


# --- crashes ------------------------------------------------------------------------------------------------------


PEERS = 1_000
KILLS = 4


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that takes a while."""
    path = tmp_path_factory.mktemp("large") / "peers.db"

    async def fill() -> None:
        async with opened(path) as store:
            birth = Birth("epoch1", bytes(5), public_key(1000))
            base = (await store.load(IPv4Network("10.100.0.0/16"), birth)).snapshot
            commands = [register(seed) for seed in range(PEERS)]
            await store.commit(base, lambda found, now: decide(found, commands, now, 3600.0), 50.0)

    asyncio.run(fill())
    return path


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*AS_INSTALLED, *arguments],
        env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended_by(number: signal.Signals, folder: Path, after: float, *arguments: str) -> tuple[int, str]:
    """The exit code and all that was said of a command that gets a signal, unless it ends before."""
    with begin(folder, *arguments) as popen:
        with suppress(subprocess.TimeoutExpired):
            popen.wait(after)
        popen.send_signal(number)
        out, errors = popen.communicate(timeout=PATIENCE)
        return popen.returncode, out + errors


@pytest.mark.slow
@pytest.mark.parametrize("engine", [SQLITE, POSTGRESQL])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_copy_that_is_ended_is_whole_or_not_there(
    tmp_path: Path, databases: Databases, large: Path, engine: str, number: signal.Signals
) -> None:
    expected = without_history(await_tables(large))
    begun = time.monotonic()
    said(run(tmp_path, "db", "copy", str(large), text_of(databases.new(engine))))
    takes = time.monotonic() - begun
    for turn in range(KILLS):
        destination = databases.new(engine)
        after = takes * (0.4 + 0.6 * turn / KILLS)
        code, words = ended_by(number, tmp_path, after, "db", "copy", str(large), text_of(destination))
        if words.strip():  # Python may end by the signal after all is done
            assert words.startswith(f"copied {PEERS} peers")
            assert code in {0, -number}
        else:
            assert code == (INTERRUPTED if number is signal.SIGINT else -number)
        if number is signal.SIGINT:
            assert list(tmp_path.iterdir()) == []
        # It is whole, or as empty as before: then the next attempt succeeds.
        done = run(tmp_path, "db", "copy", str(large), text_of(destination))
        if done.returncode:
            assert "is not empty" in done.stderr or "exists already" in done.stderr
        assert await_tables(destination) == expected


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_what_was_or_what_is_to_be(tmp_path: Path, large: Path) -> None:
    folder = file_of(tmp_path).parent
    begun = time.monotonic()
    assert run(tmp_path, "db", "restore", str(large)).returncode == 0
    takes = time.monotonic() - begun
    epochs = {await_tables(folder / "peers.db")["mesh"][0]["epoch"]}
    for turn in range(KILLS):
        after = takes * (0.4 + 0.6 * turn / KILLS)
        ended_by(signal.SIGKILL, tmp_path, after, "db", "restore", "-force", str(large))
        tables = await_tables(folder / "peers.db")
        assert len(tables["peers"]) == PEERS
        epochs.add(tables["mesh"][0]["epoch"])
    for kept in folder.glob("*before-restore*"):
        tables = await_tables(kept)
        assert len(tables["peers"]) == PEERS
        assert tables["mesh"][0]["epoch"] in epochs


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, large: Path) -> None:
    """A process that may write only small files, as it cannot fill the disk of the tests."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    for arguments in (("copy", str(large), str(tmp_path / "b.db")), ("restore", str(large))):
        done = subprocess.run(
            [*COMMAND, "db", *arguments],
            env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
            preexec_fn=limit,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        refused(done)
        assert not (tmp_path / "b.db").exists()
        assert not file_of(tmp_path).with_name("peers.db").exists()
        assert [path for path in tmp_path.iterdir() if path.name.startswith(".vpn-server-")] == []

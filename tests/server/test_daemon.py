"""A whole server, from its settings to its end."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.core.samples import public_key
from tests.databases import POSTGRESQL, Databases
from wireguard_mesh.model.errors import Conflict, InvalidValue, MeshError, Unavailable
from wireguard_mesh.server import daemon
from wireguard_mesh.server.config import Settings, load_settings
from wireguard_mesh.server.daemon import Running, run_server
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.store.database import Changed, Lost
from wireguard_mesh.store.location import Location, PostgresUrl, written
from wireguard_mesh.store.lock import DatabaseLock
from wireguard_mesh.store.store import Store

Visit = Callable[[Running, httpx.AsyncClient], Awaitable[Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


def settings_in(folder: Path, **flags: str) -> Settings:
    return load_settings({"config": str(folder / "server.json"), "listen": "127.0.0.1:0", **flags}, {})


async def visit(settings: Settings, what: Visit) -> None:
    """Start a server, do something with it, and end it by SIGTERM."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_server(settings, ready.set_result))
    first: list[asyncio.Future[Any]] = [task, ready]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        await task
    running = ready.result()
    try:
        async with httpx.AsyncClient(base_url=f"http://{running.listen}") as http:
            await what(running, http)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await task


async def nothing(_running: Running, _http: httpx.AsyncClient) -> None:
    pass


async def register(http: httpx.AsyncClient, seed: int) -> dict[str, Any]:
    answer = await http.post("/register", json={"public_key": public_key(seed).to_base64()})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_restart_keeps_everything(folder: Path) -> None:
    seen: list[Any] = []

    async def join(_running: Running, http: httpx.AsyncClient) -> None:
        seen.append(await register(http, 1))
        seen.append((await http.get("/peers")).json())
        seen.append((await http.get("/v1/server")).json()["epoch"])

    async def look(running: Running, http: httpx.AsyncClient) -> None:
        assert running.peers == 1
        assert (await http.get("/peers")).json() == seen[1]
        assert await register(http, 1) == seen[0]
        assert (await http.get("/v1/server")).json()["epoch"] == seen[2]

    await visit(settings_in(folder), join)
    await visit(settings_in(folder), look)


async def test_a_json_file_of_peers_becomes_a_database_once(tmp_path: Path) -> None:
    folder = tmp_path
    source = folder / "peers.json"
    peers = [{"id": "peer-7", "public_key": public_key(7).to_base64(), "virtual_ip": "10.100.0.7"}]
    source.write_text(json.dumps(peers))
    settings = settings_in(folder, db=str(source))

    async def look(running: Running, http: httpx.AsyncClient) -> None:
        assert running.imported == source
        assert running.database == folder / "peers.db"
        (peer,) = (await http.get("/peers")).json()["peers"]
        assert (peer["id"], peer["virtual_ip"], peer["online"]) == ("peer-7", "10.100.0.7", False)
        assert (await register(http, 8))["assigned_ip"] == "10.100.0.1"
        assert (await register(http, 7))["peer_id"] == "peer-7"

    async def look_again(running: Running, _http: httpx.AsyncClient) -> None:
        assert (running.peers, running.imported) == (2, None)

    await visit(settings, look)
    assert json.loads(source.read_text()) == peers
    assert json.loads((folder / "server.json").read_text())["db_path"] == str(folder / "peers.db")
    await visit(settings_in(folder), look_again)
    await visit(settings_in(folder, db=str(source)), look_again)


async def test_a_database_that_is_removed_is_said_and_nothing_acknowledged_is_lost(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def remove(running: Running, http: httpx.AsyncClient) -> None:
        await register(http, 1)
        assert isinstance(running.database, Path)
        running.database.unlink()
        for seed in (2, 3):
            answer = await http.post("/register", json={"public_key": public_key(seed).to_base64()})
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert (await http.get("/v1/health")).status_code == 503

    await visit(settings_in(folder), remove)
    assert caplog.text.count("was removed or replaced") == 1


async def test_a_signal_before_it_serves_ends_it_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Store.open
    closed: list[Store] = []
    close = Store.close

    async def interrupted(location: Location) -> Store:
        os.kill(os.getpid(), signal.SIGINT)
        return await opened(location)

    async def noted(store: Store) -> None:
        closed.append(store)
        await close(store)

    monkeypatch.setattr(Store, "open", interrupted)
    monkeypatch.setattr(Store, "close", noted)
    async with asyncio.timeout(30):
        await run_server(settings_in(folder), lambda _running: None)
    assert len(closed) == 1


async def test_the_network_can_be_changed_while_it_is_empty_and_is_remembered(folder: Path) -> None:
    await visit(settings_in(folder), nothing)
    await visit(settings_in(folder, network="10.200.0.0/24"), nothing)

    async def join(running: Running, http: httpx.AsyncClient) -> None:
        assert str(running.network.ipv4) == "10.200.0.0/24"
        await register(http, 1)

    await visit(settings_in(folder), join)
    with pytest.raises(Conflict, match=r"start with -network 10\.200\.0\.0/24"):
        await visit(settings_in(folder, network="10.100.0.0/16"), nothing)
    await visit(settings_in(folder), nothing)


async def test_another_database_brings_its_own_network(folder: Path) -> None:
    other = str(folder / "other.db")
    await visit(settings_in(folder), nothing)
    await visit(settings_in(folder, db=other, network="10.200.0.0/24"), nothing)

    async def look(running: Running, _http: httpx.AsyncClient) -> None:
        assert str(running.network.ipv4) == "10.200.0.0/24"

    await visit(settings_in(folder, db=other), look)
    assert json.loads((folder / "server.json").read_text())["network_cidr"] == "10.100.0.0/16"


async def test_what_keeps_it_from_starting_is_said_and_nothing_stays_open(folder: Path) -> None:
    async def attempt(match: str, kind: type[MeshError], **flags: str) -> None:
        with pytest.raises(kind, match=match):
            await visit(settings_in(folder, **flags), nothing)

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        await attempt(f"port {port} is in use", Conflict, listen=f"127.0.0.1:{port}")
    with DatabaseLock(folder / "peers.db"):
        await attempt(f"another vpn-server uses this database: pid {os.getpid()}", Conflict)
    await attempt("Not a directory", Unavailable, db=str(folder / "server.json" / "x" / "peers.db"))
    await attempt("cannot make the folder", Unavailable, db="/proc/nowhere/peers.db")
    await visit(settings_in(folder), nothing)


async def test_the_sweep_goes_on_whatever_happens(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    swept = asyncio.Event()
    calls: list[int] = []

    async def sweep(_mesh: Mesh) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        swept.set()

    monkeypatch.setattr(Mesh, "sweep", sweep)

    async def watch(_running: Running, _http: httpx.AsyncClient) -> None:
        async with asyncio.timeout(20):
            await swept.wait()

    await visit(settings_in(folder, cleanup_interval="1"), watch)
    assert "a bug" in caplog.text


async def test_many_connections_are_allowed_for(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        await visit(settings_in(folder), nothing)
        raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert raised > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def copied(settings: Settings, folder: Path) -> Settings:
    """A second server: the first one's file on another machine."""
    folder.mkdir()
    shutil.copy(settings.file, folder / "server.json")
    return settings_in(folder)


async def test_many_servers_share_a_mesh_by_their_key_and_database(
    databases: Databases, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = databases.new(POSTGRESQL)
    assert isinstance(database, PostgresUrl)
    url = database.dsn.replace("postgres@", "postgres:s3cret@")  # whoever is in its folder is trusted all the same
    first = settings_in(folder, db=url)
    assert json.loads((folder / "server.json").read_text())["db_path"] == url
    told: list[str] = []

    async def join(running: Running, http: httpx.AsyncClient) -> None:
        told.append(f"{running.database} {running}")
        await register(http, 1)
        told.append((await http.get("/v1/server")).json()["epoch"])

    async def join_too(running: Running, http: httpx.AsyncClient) -> None:
        assert running.peers == 1
        assert (await register(http, 2))["assigned_ip"] == "10.100.0.2"
        assert (await http.get("/v1/server")).json()["epoch"] == told[1]

    await visit(first, join)
    await visit(copied(first, tmp_path / "second"), join_too)
    with pytest.raises(Conflict, match=r"belongs to a server with the public key .* copy server\.json"):
        await visit(settings_in(tmp_path / "stranger", db=url), nothing)
    assert "s3cret" not in f"{told}{caplog.text}{first}"


async def test_without_its_database_it_does_not_start(folder: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach the database postgresql://ann@/mesh\?host=/nowhere"):
        await visit(settings_in(folder, db="postgresql://ann:s3cret@/mesh?host=/nowhere"), nothing)
    with pytest.raises(InvalidValue, match="is no database of ours"):
        settings_in(folder, db="mysql://ann@/mesh")


async def test_following_goes_on_whatever_happens(
    databases: Databases, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    following = asyncio.Event()
    follow = Store.follow

    async def faulty(store: Store, changed: Changed, lost: Lost) -> None:
        if "a bug" not in caplog.text:
            raise RuntimeError("a bug")
        following.set()
        await follow(store, changed, lost)

    monkeypatch.setattr(Store, "follow", faulty)
    monkeypatch.setattr(daemon, "_FOLLOW_AGAIN_SECONDS", 0.01)

    async def watch(_running: Running, _http: httpx.AsyncClient) -> None:
        async with asyncio.timeout(20):
            await following.wait()

    await visit(settings_in(folder, db=written(databases.new(POSTGRESQL))), watch)

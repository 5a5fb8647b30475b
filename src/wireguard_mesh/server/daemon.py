"""One running server: opens what it needs, serves until told to stop, and leaves everything in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from wireguard_mesh.core.liveness import Liveness
from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.core.registry import Outcome
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.model.networks import GLOBAL_ID_LENGTH, MeshNetwork
from wireguard_mesh.server.app import make_app
from wireguard_mesh.server.clock import Clock
from wireguard_mesh.server.config import Settings, settle
from wireguard_mesh.server.http_server import OTHER_FILES, HttpServer
from wireguard_mesh.server.legacy import Legacy, find_legacy, take_over
from wireguard_mesh.server.listening import ListenAddress, bind
from wireguard_mesh.server.mesh import Mesh
from wireguard_mesh.server.own_relay import OwnRelay, Place, find_place
from wireguard_mesh.server.relays import SWEEP_SECONDS, Relays
from wireguard_mesh.server.server_file import relay_key_of
from wireguard_mesh.server.shared import MAX_CONNECTIONS
from wireguard_mesh.server.writer import Writer
from wireguard_mesh.store.location import Location, PostgresUrl
from wireguard_mesh.store.lock import DatabaseLock
from wireguard_mesh.store.reading import Loaded
from wireguard_mesh.store.store import Birth, Store
from wireguard_mesh.store.writing import new_epoch

log = logging.getLogger(__name__)

_FEW_CONNECTIONS: Final = 12_000  # for 6,000 agents; below, who runs the server is told of it
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_PRIVATE_FOLDER: Final = 0o700
_FOLLOW_AGAIN_SECONDS: Final = 5.0
_PORT_TRIES: Final = 10
_PORT_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Running:
    """What there is to say of a server that serves."""

    listen: ListenAddress
    network: MeshNetwork
    database: Location
    peers: int
    imported: Path | None
    relay: Place | None


async def run_server(settings: Settings, ready: Callable[[Running], None], clock: Clock | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called when the port answers.

    Raises `MeshError` for what keeps it from starting.
    """
    clock = clock or Clock()
    # First of all: what is opened below must be closed in its order, however early the signal comes.
    told_to_stop = asyncio.Event()
    for number in _STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with AsyncExitStack() as stack:
        legacy, database = _place(settings, stack)
        store = await Store.open(database)
        stack.push_async_callback(store.close)
        birth = Birth(new_epoch(), os.urandom(GLOBAL_ID_LENGTH), settings.private_key.public_key)
        loaded = await store.load(settings.network, birth, binding=settings.network_binding)
        is_imported = legacy is not None and _is_unused(loaded.snapshot)
        if legacy and is_imported:
            loaded = await _import(legacy, store, loaded)
        settle(replace(settings, network=loaded.snapshot.network.ipv4), database)
        sockets = bind(settings.listen)
        for listener in sockets:
            stack.callback(listener.close)
        place = await _place_of_relay(settings, sockets[0].getsockname()[1])
        if place is not None:
            stack.callback(place.close)
        _allow_connections()  # after all that may refuse the start, which is to be said alone
        running = Running(
            listen=ListenAddress(settings.listen.host, sockets[0].getsockname()[1]),
            network=loaded.snapshot.network,
            database=database,
            peers=len(loaded.snapshot.records),
            imported=legacy.source if legacy and is_imported else None,
            relay=place,
        )
        writer = Writer(store, loaded.snapshot, clock, quarantine=settings.quarantine)
        mesh = Mesh(
            writer,
            _liveness(settings, loaded, clock),
            RateLimiter(
                settings.registration_burst,
                settings.registration_rate,
                what="too many registrations from this address",
            ),
            store,
            clock,
        )
        server_key = settings.private_key.public_key
        relays = Relays(mesh, writer, store, clock, server_key, partial(relay_key_of, settings.file))
        if place is not None:
            relays.own = OwnRelay(place, loaded.snapshot, clock, relays.own_observed)
        http = HttpServer(make_app(mesh, relays, settings.private_key, clock), settings.connections_per_source)
        stopper = asyncio.create_task(_stop_when(told_to_stop, writer, http))
        sweeper = asyncio.create_task(_sweep(mesh, settings.cleanup_interval))
        following = asyncio.create_task(_follow(store, writer))
        writing = asyncio.create_task(writer.run())
        relaying = asyncio.create_task(_relay(relays))
        await relays.sweep()  # so that the first map has our own relay already
        _spare_what_stays()
        ready(running)
        try:
            await http.serve_on(sockets)
        finally:
            writer.stop()
            for task in (sweeper, stopper, following, relaying):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await writing
            if not writer.failing:  # else this would fail too, and take its time for it
                await mesh.flush()


async def _follow(store: Store, writer: Writer) -> None:
    while True:
        try:
            return await store.follow(writer.look, writer.lost)
        except Exception:
            # A fault of ours: each batch catches up all the same.
            log.exception("what other servers write is not followed for a moment")
            await asyncio.sleep(_FOLLOW_AGAIN_SECONDS)


async def _place_of_relay(settings: Settings, http_port: int) -> Place | None:
    # The relay of a server that was killed ends by itself, in a moment: until then it has the ports.
    for _ in range(_PORT_TRIES):
        try:
            return find_place(settings, http_port)
        except Conflict:
            await asyncio.sleep(_PORT_AGAIN_SECONDS)
    return find_place(settings, http_port)


async def _relay(relays: Relays) -> None:
    own = asyncio.create_task(relays.own.run()) if relays.own is not None else None
    try:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await relays.sweep()
            except Exception:
                # A fault of ours must not end the watch over relays.
                log.exception("the sweep for silent relays failed")
    finally:
        if relays.own is not None and own is not None:
            relays.own.stop()
            await own


async def _sweep(mesh: Mesh, interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            await mesh.sweep()
        except Exception:
            # A fault of ours must not end the watch over everybody's liveness.
            log.exception("the sweep for silent peers failed")


def _place(settings: Settings, stack: AsyncExitStack) -> tuple[Legacy | None, Location]:
    location = settings.database
    if isinstance(location, PostgresUrl):
        return None, location
    legacy = find_legacy(location)
    file = legacy.database if legacy else location
    _make_folder(file.parent)
    stack.enter_context(DatabaseLock(file))
    return legacy, file


def _is_unused(snapshot: Snapshot) -> bool:
    """No peer has ever been in it: at most the server's own relay."""
    return snapshot.revision == snapshot.relays_revision and not (snapshot.records or snapshot.tombstones)


async def _import(legacy: Legacy, store: Store, loaded: Loaded) -> Loaded:
    changes, heard = take_over(legacy, loaded.snapshot)
    await store.commit(loaded.snapshot, lambda base, _now: Outcome(base, changes, ()), 0.0, seen=heard)
    return await store.reload()


def _liveness(settings: Settings, loaded: Loaded, clock: Clock) -> Liveness:
    liveness = Liveness(settings.heartbeat_timeout, clock.monotonic(), settings.cleanup_interval)
    records = loaded.snapshot.records
    liveness.load(
        [(key, seen) for key, seen in loaded.last_seen.items() if records[key].peer.online],
        [(key, seen) for key, seen in loaded.last_seen.items() if not records[key].peer.online],
    )
    return liveness


async def _stop_when(told_to_stop: asyncio.Event, writer: Writer, http: HttpServer) -> None:
    await told_to_stop.wait()
    # First the writer, so that whoever waits for it is answered before the connections close.
    writer.stop()
    http.stop()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"cannot make the folder {folder}: {error.strerror}", "choose another place with -db"
        ) from None


def _spare_what_stays() -> None:
    # 10,000 peers are 200,000 objects that stay. Without them the longest halt of a server with 9,000 streams, in which
    # cycles are looked for, was a third of what it was (0.1 s).
    gc.collect()
    gc.freeze()


def _allow_connections() -> None:
    # The usual limit of 1024 descriptors is there for programs that use select().
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < _FEW_CONNECTIONS:
        log.warning(
            "few connections are possible: raise the limit of open files (ulimit -n) limit=%d",
            wanted,
        )

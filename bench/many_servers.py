"""Two servers on one PostgreSQL: 1,000 registrations at once on both, and what a SIGKILL of one does to 2,000 clients.

The clients know both addresses. An agent knows one URL: behind its name are then both servers.
"""

import asyncio
import itertools
import shutil
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import uvloop

from bench.load.delays import Change
from bench.load.fleet import Fleet
from bench.load.members import Member
from bench.local_server import LocalServer
from bench.report import Figure
from lab.postgres import Postgres, postgres

REGISTRATIONS: Final = 1000
CLIENTS: Final = 2000
DEADLINE_SECONDS: Final = 120.0
DATABASE: Final = "mesh"
SERVERS: Final = 2
_FILE: Final = Path(".config/wireguard-mesh/server.json")
# When each revision was committed, in the order of revisions: a row has the transaction that wrote it last.
_COMMITS: Final = (
    "select revision, count(*), extract(epoch from max(pg_xact_commit_timestamp(xmin)))"
    " from peers group by revision order by revision"
)


def measure() -> list[Figure]:
    """Both, one after the other, on one database."""
    with (
        postgres(durable=True, track_commit_timestamp="on") as database,
        TemporaryDirectory(prefix="wgm-bench-") as folder,
    ):
        servers = _servers(Path(folder), database.create_database(DATABASE))
        try:
            return uvloop.run(_measure(servers, database))
        finally:
            for server in servers:
                server.stop()


def _servers(folder: Path, url: str) -> list[LocalServer]:
    """Running ones. All have one identity, which is the first one's file."""
    servers = []
    for number in range(SERVERS):
        home = folder / f"server{number}"
        if number:
            (home / _FILE).parent.mkdir(parents=True)
            shutil.copy(folder / "server0" / _FILE, home / _FILE)
        else:
            home.mkdir()
        servers.append(LocalServer(home, "-db", url, "-registration-burst", "0"))
        servers[-1].start()
    return servers


async def _measure(servers: list[LocalServer], database: Postgres) -> list[Figure]:
    fleet = Fleet(tuple(server.port for server in servers), connections=REGISTRATIONS // SERVERS)
    await fleet.learn()
    async with asyncio.timeout(DEADLINE_SECONDS):
        members = [fleet.new_member() for _ in range(CLIENTS)]
        figures = await _registrations(fleet, members[:REGISTRATIONS], database)
        await fleet.register(members[REGISTRATIONS:])
        await fleet.connect(members)
    for member in members:
        fleet.admit(member)
    async with fleet.alive():
        figures += await _join(fleet)
        figures += await _kill(fleet, servers[-1])
    faults = fleet.traffic.faults
    figures.append(Figure(name="two servers: what none should have sent", value=len(faults), unit="", aim="0"))
    fleet.close()
    return figures


async def _registrations(fleet: Fleet, members: list[Member], database: Postgres) -> list[Figure]:
    start = time.monotonic()
    answers = await fleet.register(members, at_once=len(members))
    seconds = time.monotonic() - start
    addresses = Counter(str(address) for answer in answers for address in (answer.me.ipv4, answer.me.ipv6))
    twice = sum(count - 1 for count in addresses.values())
    commits = [(int(row[0]), int(row[1]), float(row[2])) for row in database.query(DATABASE, _COMMITS)]
    revisions = [revision for revision, _, _ in commits]
    missing = len(set(range(revisions[0], revisions[-1] + 1)) - set(revisions))
    disordered = sum(after[2] < before[2] for before, after in itertools.pairwise(commits))
    stored = sum(count for _, count, _ in commits)
    note = f"{stored} rows, revisions {revisions[0]} to {revisions[-1]}, a revision a batch"
    return [
        Figure(name=f"two servers: {REGISTRATIONS} registrations at once", value=seconds, unit="s"),
        Figure(name="two servers: addresses given twice", value=twice, unit="", aim="0"),
        Figure(name="two servers: registrations not stored", value=len(members) - stored, unit="", aim="0", note=note),
        Figure(name="two servers: revisions left out", value=missing, unit="", aim="0", note=note),
        Figure(name="two servers: revisions out of the order of commits", value=disordered, unit="", aim="0"),
    ]


async def _join(fleet: Fleet) -> list[Figure]:
    """A change on one server comes to the clients of both."""
    member, audience = fleet.new_member(), len(fleet.streams)
    change = Change("join", time.monotonic())
    fleet.traffic.watch.expect((member.public_key, str(member.endpoint)), change)
    await member.register(fleet.calls[0])
    await fleet.wait_for(change, audience, DEADLINE_SECONDS)
    note = f"it came to {change.deliveries} of {audience} clients"
    wrong, what = await fleet.differing(DEADLINE_SECONDS)
    return [
        Figure(name="two servers: join until the last client has it", value=1000 * change.last, unit="ms", note=note),
        Figure(name="two servers: clients with another map than a fresh one", value=wrong, unit="", aim="0", note=what),
    ]


async def _kill(fleet: Fleet, server: LocalServer) -> list[Figure]:
    streams, traffic = list(fleet.streams), fleet.traffic
    before = sum(stream.received for stream in streams)
    traffic.clear()
    await asyncio.to_thread(server.kill)
    killed = time.monotonic()
    fleet.lose(server.port)
    await fleet.until(lambda: bool(traffic.broken), DEADLINE_SECONDS)
    await fleet.until(lambda: all(stream.is_current for stream in streams), DEADLINE_SECONDS)
    late = sum(not stream.is_current for stream in streams)
    moved = len(traffic.broken)
    received = (sum(stream.received for stream in streams) - before) / moved
    note = f"{moved} clients of the dead server, {received:.0f} bytes each; the clients know both addresses"
    wrong, what = await fleet.differing(DEADLINE_SECONDS)
    return [
        Figure(
            name="SIGKILL of one server: until all are current on the other",
            value=max(traffic.current) - killed,
            unit="s",
            note=note,
        ),
        Figure(name="SIGKILL of one server: clients left behind", value=late, unit="", aim="0"),
        Figure(name="SIGKILL of one server: clients with another map", value=wrong, unit="", aim="0", note=what),
    ]

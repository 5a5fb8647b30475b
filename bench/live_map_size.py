"""`python -m bench.live_map_size N`: the live map with N clients. Prints one line of JSON a figure.

A process of its own for each size, since it is the load generator: server and load start fresh.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import uvloop

from bench.load.churn import Churn
from bench.load.delays import Change, delays
from bench.load.fleet import Fleet
from bench.load.streams import Stream
from bench.local_server import LocalServer, local_server
from bench.report import Figure, json_lines
from bench.usage import Meter, usage

IDLE_SECONDS: Final = float(os.environ.get("BENCH_IDLE", "60"))
CHURN_SECONDS: Final = float(os.environ.get("BENCH_CHURN", "60"))
CHURN_RATE: Final = float(os.environ.get("BENCH_RATE", "50"))
JOINS: Final = 20
SETTLE_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.5  # between two joins
DEADLINE_SECONDS: Final = 120.0  # for whatever is waited for
WHOLE_SECONDS: Final = 540.0  # for all of it
NO_LIMIT: Final = ("-registration-burst", "0")


class Size:
    """One server, N clients, and the figures of all phases."""

    def __init__(self, server: LocalServer, count: int) -> None:
        self._server = server
        self._count = count
        self._fleet = Fleet((server.port,))
        self._churn: Churn
        self.figures: list[Figure] = []

    async def run(self) -> None:
        """All phases, in their order."""
        fleet = self._fleet
        await fleet.learn()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._cold_start()
        except TimeoutError:
            seen = (fleet.traffic.refused, fleet.traffic.faults[:3])
            raise RuntimeError(f"{len(fleet.traffic.current)} of {self._count} became current; {seen}") from None
        async with fleet.alive():
            await asyncio.sleep(SETTLE_SECONDS)
            await self._idle()
            await self._joins()
            await self._changes()
            await self._restart()
        self._add(
            "streams given up, or malformed", len(fleet.traffic.faults), "", "0", "; ".join(fleet.traffic.faults[:3])
        )
        fleet.close()

    async def _cold_start(self) -> None:
        fleet, meter = self._fleet, Meter(self._server.pid)
        members = [fleet.new_member() for _ in range(self._count)]
        made, meter = meter.seconds, Meter(self._server.pid)
        await fleet.register(members)
        note = f"{self._count / meter.seconds:.0f}/s; {meter}; making keys took {made:.1f} s"
        self._add("all keys registered, signed", meter.seconds, "s", note=note)
        for member in members:
            fleet.admit(member)
        meter = Meter(self._server.pid)
        await fleet.connect(members)
        note = f"from cold, whole maps; {meter}"
        self._add("all streams connected and current", meter.seconds, "s", note=note)
        received = sum(stream.received for stream in fleet.streams)
        self._add("... bytes of one whole map", received / self._count, "B", note=f"{received / 1e6:.1f} MB for all")
        self._churn = Churn(fleet)

    async def _idle(self) -> None:
        meter = Meter(self._server.pid)
        del self._fleet.beat_seconds[:]
        await asyncio.sleep(IDLE_SECONDS)
        beats = sorted(self._fleet.beat_seconds)
        note = f"{len(beats) / meter.seconds:.1f} heartbeats/s over {meter.seconds:.0f} s; {meter}"
        self._add("idle: processor of the server", meter.server, "% of a core", "<= 20", note)
        if beats:  # few clients may have none in a short time
            note = f"of {len(beats)}; p50 {_ms(statistics.median(beats))}, longest {_ms(beats[-1])}"
            self._add("idle: p99 of the answer to a heartbeat", 1000 * _p99(beats), "ms", "", note)
        server, load = usage(self._server.pid), usage(os.getpid())
        note = f"at most {server.peak:.0f} MB so far; load {load.rss:.0f} MB"
        self._add("idle: resident memory of the server", server.rss, "MB", "<= 400", note)

    async def _joins(self) -> None:
        fleet, streams = self._fleet, list(self._fleet.streams)
        before = _received(streams)
        changes: list[Change] = []
        for _ in range(JOINS):
            change = await self._churn.join()
            changes.append(change)
            if not await fleet.wait_for(change, len(streams), DEADLINE_SECONDS):
                raise RuntimeError(
                    f"a join came to {change.deliveries} of {len(streams)} clients: {fleet.traffic.faults[:3]}"
                )
            await asyncio.sleep(PAUSE_SECONDS)
        per_change = _more(before) / JOINS
        last = sorted(change.last for change in changes)
        each = delays(changes)
        note = f"over all streams and joins p50 {_ms(each.p50)}, p99 {_ms(each.p99)}; {JOINS} joins, from the request"
        self._add("join: until the last client has it, p50", 1000 * statistics.median(last), "ms", "", note)
        self._add("join: until the last client has it, p99", 1000 * _p99(last), "ms", "<= 500", note)
        whole = len(self._server.get("/peers"))
        self._add("join: bytes for each client", per_change, "B", "<= 400", "counted on the socket; TCP adds its own")
        note = f"{whole:,} bytes each time that a client polls"
        self._add("join: bytes of `GET /peers` for each byte of the stream", whole / per_change, "", "", note)

    async def _changes(self) -> None:
        fleet, churn, finished = self._fleet, Churn(self._fleet), self._fleet.traffic.finished
        received, meter = _received(fleet.streams), Meter(self._server.pid)
        rate = await churn.run(CHURN_RATE, CHURN_SECONDS)
        server, shares, seconds = meter.server, str(meter), meter.seconds
        stayed = {stream: received[stream] for stream in fleet.streams if stream in received}
        per_change = _more(stayed) / len(churn.changes) if stayed else None
        wrong, what = await fleet.differing(DEADLINE_SECONDS)
        settled = meter.seconds - seconds
        await fleet.until(lambda: fleet.traffic.finished - finished >= churn.left, DEADLINE_SECONDS)
        each, answered = delays(churn.changes), delays(churn.changes, acknowledged=True)
        note = (
            f"p50 {_ms(each.p50)}, longest {_ms(each.longest)}; from its answer p50 {_ms(answered.p50)}, "
            f"p99 {_ms(answered.p99)}; {len(churn.changes)} changes, {rate:.1f}/s, {each.deliveries} deliveries"
        )
        self._add(f"churn, {CHURN_RATE:.0f}/s: p99 until a client has a change", 1000 * each.p99, "ms", "", note)
        self._add("churn: processor of the server", server, "% of a core", "", shares)
        if per_change is not None:  # in a small mesh everybody has left by now, and others have joined
            self._add("churn: bytes for each client and change", per_change, "B")
        peak = usage(self._server.pid).peak
        self._add("churn: resident memory of the server, at most until then", peak, "MB", "", "")
        note = what or f"{len(fleet.streams)} clients compared with a fresh map {settled:.1f} s after the last change"
        self._add("churn: clients with another map than a fresh one", wrong, "", "0", note)
        failed = sum(churn.failures.values())
        self._add("churn: changes that failed", failed, "", "0", "; ".join(churn.failures))
        unended = churn.left - (fleet.traffic.finished - finished)
        self._add("churn: streams of peers that left, not ended", unended, "", "0", f"{churn.left} left")

    async def _restart(self) -> None:
        fleet, streams = self._fleet, list(self._fleet.streams)
        traffic, before = fleet.traffic, _received(streams)
        traffic.clear()
        await asyncio.to_thread(self._server.kill)
        killed = time.monotonic()
        await asyncio.to_thread(self._server.start)
        meter = Meter(self._server.pid)
        up = time.monotonic()
        await fleet.until(lambda: all(stream.is_current for stream in streams), DEADLINE_SECONDS)
        late = sum(not stream.is_current for stream in streams)
        last = max(traffic.current, default=up)
        per_client = _more(before)
        note = f"{last - killed:.1f} s from the SIGKILL; {meter}"
        self._add("restart: until all clients are current", last - up, "s", "", note)
        self._add("restart: clients that did not become current", late, "", "0")
        note = f"heads of answers with it; refusals by status: {traffic.refused}"
        self._add("restart: bytes for each client", per_client, "B", "<= 1000", note)
        note = f"{len(traffic.connected)} connections for {len(streams)} clients"
        self._add("restart: peak of connections", _peak(traffic.connected), "in a second", "", note)
        wrong, what = await fleet.differing(DEADLINE_SECONDS)
        self._add("restart: clients with another map than a fresh one", wrong, "", "0", what)

    def _add(self, name: str, value: float, unit: str, aim: str = "", note: str = "") -> None:
        figure = Figure(name=f"{self._count:,}: {name}", value=value, unit=unit, aim=aim, note=note)
        self.figures.append(figure)
        print(f"{figure.name} = {value:.4g} {unit} {note}", file=sys.stderr, flush=True)


def _received(streams: Iterable[Stream]) -> dict[Stream, int]:
    return {stream: stream.received for stream in streams}


def _more(before: Mapping[Stream, int]) -> float:
    """Bytes that each got since then."""
    return statistics.fmean(stream.received - received for stream, received in before.items())


def _p99(ordered: Sequence[float]) -> float:
    # Of few values it is the last, or nearly so: the nearest rank.
    return ordered[-(-99 * len(ordered) // 100) - 1]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _peak(moments: Sequence[float]) -> int:
    """The most that were within one second."""
    most = first = 0
    for number, moment in enumerate(moments):
        while moment - moments[first] > 1.0:
            first += 1
        most = max(most, number - first + 1)
    return most


def main() -> None:
    count = int(sys.argv[1])
    gc.disable()  # amid the churn it would stop the load generator for seconds, and so all that it measures
    with local_server(*NO_LIMIT) as server:
        size = Size(server, count)
        try:
            uvloop.run(asyncio.wait_for(size.run(), WHOLE_SECONDS))
        finally:
            print(json_lines(size.figures), flush=True)


if __name__ == "__main__":
    main()

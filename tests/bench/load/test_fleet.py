"""A small fleet at a small server."""

import asyncio

import pytest

from bench.load.churn import Churn, TooFew
from bench.load.delays import delays
from bench.load.fleet import Fleet, together
from bench.load.members import Refused
from tests.bench.load.small_server import SmallServer, small_server

COUNT = 5
WITHIN = 20.0


async def connected(server: SmallServer, count: int = COUNT) -> Fleet:
    fleet = Fleet((server.port,))
    await fleet.learn()
    members = [fleet.new_member() for _ in range(count)]
    await fleet.register(members)
    await fleet.connect(members)
    return fleet


async def test_all_have_the_map_and_each_change() -> None:
    async with small_server() as server:
        fleet = await connected(server)
        assert await fleet.differing(WITHIN) == (0, "")
        assert {stream.state.count for stream in fleet.streams} == {COUNT}
        churn = Churn(fleet)
        assert await fleet.wait_for(await churn.join(), COUNT, WITHIN)
        assert await fleet.wait_for(await churn.move(), COUNT + 1, WITHIN)
        assert await fleet.wait_for(await churn.leave(), COUNT, WITHIN)
        assert await fleet.differing(WITHIN) == (0, "")
        assert await fleet.until(lambda: fleet.traffic.finished == 1, WITHIN)
        assert delays(churn.changes).deliveries in (3 * COUNT + 1, 3 * COUNT + 2)  # the one that left, perhaps
        assert [change.kind for change in churn.changes] == ["join", "move", "leave"]
        assert not fleet.traffic.faults
        fleet.close()


async def test_a_broken_stream_is_resumed_where_it_was() -> None:
    async with small_server() as server:
        fleet = await connected(server)
        version = str(next(iter(fleet.streams)).state.version)
        server.resumed.clear()
        fleet.traffic.clear()
        server.instance = "second"  # as if it were restarted
        server.break_streams()
        assert await fleet.until(lambda: len(fleet.traffic.current) == COUNT, WITHIN)
        assert server.resumed == [version] * COUNT
        assert fleet.traffic.refused == {401: COUNT}
        assert len(fleet.traffic.connected) == len(fleet.traffic.broken) == COUNT
        assert await fleet.differing(WITHIN) == (0, "")
        fleet.close()


async def test_a_client_that_is_sent_something_else_shows() -> None:
    async with small_server() as server:
        fleet = await connected(server)
        server.tamper = lambda _: b""
        await Churn(fleet).move()
        wrong, what = await fleet.differing(0.5)
        assert wrong == 1
        assert "a fresh map is" in what
        fleet.close()


async def test_what_no_server_sends_is_noted_and_survived() -> None:
    async with small_server() as server:
        fleet = await connected(server)
        server.tamper = lambda _: b"3\r\nabc\r\n"
        await Churn(fleet).move()
        assert await fleet.until(lambda: bool(fleet.traffic.faults), WITHIN)
        assert "piece" in fleet.traffic.faults[0]
        server.tamper = lambda chunk: chunk
        assert await fleet.differing(WITHIN) == (0, "")
        fleet.close()


async def test_churn_at_a_rate() -> None:
    async with small_server() as server:
        fleet = await connected(server, 12)
        churn = Churn(fleet)
        await churn.run(30.0, 0.5)
        assert {change.kind for change in churn.changes} == {"join", "leave", "move"}
        assert not churn.failures
        assert await fleet.differing(WITHIN) == (0, "")
        assert len(fleet.streams) == 12 + 5 - churn.left
        fleet.close()


async def test_no_machine_changes_twice_at_once() -> None:
    async with small_server() as server:
        fleet = await connected(server, 1)
        churn = Churn(fleet)
        await churn.move()
        with pytest.raises(TooFew):
            await churn.move()
        fleet.close()


async def test_they_beat() -> None:
    async with small_server() as server:
        fleet = await connected(server)
        for stream in fleet.streams:
            fleet.admit(stream.member)
        async with fleet.alive():
            assert await fleet.until(lambda: fleet.beats["answered"] >= 1, WITHIN)
        assert "POST /v1/heartbeat" in server.requests
        fleet.close()


async def test_a_refusal_says_what_the_server_said() -> None:
    async with small_server() as server:
        fleet = await connected(server, 1)
        other = Fleet((server.port,))
        await other.learn()
        stranger = other.new_member()
        stranger.signer = next(iter(fleet.streams)).member.signer
        stranger.signer.key_id = stranger.public_key.to_base64()
        with pytest.raises(Refused, match="401"):
            await stranger.beat(fleet.calls_of(0))
        fleet.close()


async def test_no_more_at_once_than_asked() -> None:
    under_way = most = 0

    async def work(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return 2 * item

    assert await together(work, range(10), 3) == [2 * item for item in range(10)]
    assert most == 3

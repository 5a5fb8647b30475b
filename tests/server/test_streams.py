"""All who follow the map have it, however they read, come and go; on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.core.samples import public_key
from tests.server.conftest import Server
from tests.server.streaming import Streaming, streaming
from wireguard_mesh.protocol.api import UpdateKind


@pytest.fixture
async def served(server: Server) -> AsyncIterator[Streaming]:
    async with streaming(server) as one:
        yield one


@pytest.mark.parametrize("encoding", ["", "gzip, br"])
async def test_the_whole_map_comes_first_and_then_what_changes(served: Streaming, encoding: str) -> None:
    server = served.server
    await server.join(1)
    await server.join(2)
    stream = await served.open(1, accept_encoding=encoding)
    assert stream.head.get("content-encoding", "") == encoding[:4]
    assert (await stream.steps(1))[0] == server.mesh.map(public_key(1), None)
    await server.join(3)
    update = (await stream.steps(2))[1]
    assert [peer.public_key for peer in update.upsert] == [public_key(3)]
    await server.signed(2, "DELETE", "/v1/peer")
    update = (await stream.steps(3))[2]
    assert (update.kind, len(update.remove)) == (UpdateKind.DELTA, 1)
    assert stream.map is not None
    assert list(stream.map.peers) == [public_key(3)]

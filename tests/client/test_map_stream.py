"""Portions of the stream: what they complete, and what they leave open."""

from collections.abc import AsyncGenerator
from typing import cast

import pytest

from tests.core.test_following import written
from tests.samples import NETWORK, peer
from wireguard_mesh.client.http import Stream
from wireguard_mesh.client.map_stream import Heard, listen
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.events import KEEPALIVE, retry_field

WHOLE = MapUpdate(kind=UpdateKind.SNAPSHOT, epoch="e", revision=1, network=NETWORK, upsert=(peer(1),))
DELTA = MapUpdate(kind=UpdateKind.DELTA, epoch="e", revision=2, upsert=(peer(2),))


class Parts:
    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        for part in self._parts:
            yield part


async def heard(*parts: bytes) -> list[Heard]:
    return [one async for one in listen(cast(Stream, Parts(*parts)))]


async def test_each_portion_tells_what_it_completed() -> None:
    text = written(DELTA)
    found = await heard(retry_field(2.5), written(WHOLE), text[:-3], KEEPALIVE[:0], text[-3:], KEEPALIVE)
    assert [one.updates for one in found] == [(), (WHOLE,), (), (), (DELTA,), ()]
    assert [one.is_complete for one in found] == [False, True, False, False, True, True]
    assert [one.version for one in found][1] == MapVersion("e", 1)
    assert found[0].version is None
    assert {one.spread for one in found} == {2.5}
    assert [one.events for one in found] == [0, 3, 1, 0, 1, 0]


async def test_steps_that_came_together_are_told_together() -> None:
    (one,) = await heard(written(WHOLE) + written(DELTA))
    assert one.updates == (WHOLE, DELTA)
    assert one.version == MapVersion("e", 2)


async def test_nonsense_is_one_error() -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        await heard(b"event:upsert\ndata:nonsense\n\n")

"""What all connections share, and whose fault it is when there is too much of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest

from wireguard_mesh.server import shared
from wireguard_mesh.server.shared import Shared, source_limited


@dataclass(eq=False)
class Transport:
    """One that is told how much nobody reads."""

    unsent: int = 0
    is_cut: bool = False
    is_closed: bool = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.is_cut = True

    def close(self) -> None:
        self.is_closed = True


class Connection:
    """One that is written to."""

    def __init__(self, unsent: int) -> None:
        self.fake = Transport(unsent)
        self.transport = cast("asyncio.Transport", self.fake)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Shared:
    monkeypatch.setattr(shared, "MAX_UNSENT", 100)
    return Shared(0)


def cut(connections: list[Connection]) -> list[bool]:
    return [each.fake.is_cut for each in connections]


def test_those_that_have_not_read_for_longest_are_shut(small: Shared) -> None:
    connections = [Connection(30) for _ in range(4)]
    for each in connections[:3]:
        small.hold_unsent(each)
    assert cut(connections) == [False] * 4
    small.hold_unsent(connections[3])
    assert cut(connections) == [True, True, False, False]  # so that there is some room


def test_what_was_read_since_does_not_count(small: Shared) -> None:
    connections = [Connection(30) for _ in range(4)]
    for each in connections[:3]:
        small.hold_unsent(each)
        each.fake.unsent = 1
    small.hold_unsent(connections[3])
    assert cut(connections) == [False] * 4


def test_who_reads_again_makes_room(small: Shared) -> None:
    for _ in range(10):
        reader = Connection(60)
        small.hold_unsent(reader)
        small.hold_unsent(reader)  # counted once
        small.drop_unsent(reader)
        small.drop_unsent(reader)
        assert not reader.fake.is_cut


def test_idle_connections_give_way_the_oldest_first() -> None:
    full = Shared(0, max_connections=2)
    idle: list[Any] = [Transport() for _ in range(3)]
    full.idle = dict.fromkeys(idle)
    full.connections.update(cast("Any", range(3)))
    assert full.has_room()
    assert [each.is_closed for each in idle] == [True, False, False]
    full.connections.update(cast("Any", range(10)))
    assert not full.has_room()


def test_a_source_is_counted_until_its_last_connection_is_gone() -> None:
    some = Shared(2)
    assert [some.count("a") for _ in range(3)] == [True, True, False]
    assert some.count("b")
    for _ in range(3):
        some.discount("a")
    assert some.count("a")


def test_a_proxy_on_this_machine_may_have_all_connections() -> None:
    assert source_limited(None) is None
    assert source_limited(("127.0.0.1", 1)) is None
    assert source_limited(("::1", 1)) is None
    assert source_limited(("::ffff:127.0.0.1", 1)) is None
    assert source_limited(("192.0.2.1", 1)) == source_limited(("::ffff:192.0.2.1", 2)) != source_limited(None)
    assert source_limited(("2001:db8::1", 1)) == source_limited(("2001:db8::2", 1))
    assert source_limited(("fe80::1%eth0", 1)) is not None

"""The control socket on an event loop."""

from __future__ import annotations

import os
import resource
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from tests.samples import public_key
from tests.waiting import until
from wireguard_mesh.relay.channel import Channel, Outgoing
from wireguard_mesh.relay.control import Adopt, Ready, Roster, ToChild, ToParent, for_child, for_parent, frame


@dataclass
class Ends:
    """A parent's channel and a child's, with what each is to say and heard."""

    parent: Channel[ToParent] = field(init=False)
    child: Channel[ToChild] = field(init=False)
    to_child: deque[Outgoing] = field(default_factory=deque)
    to_parent: deque[Outgoing] = field(default_factory=deque)
    child_heard: list[tuple[ToChild, socket.socket | None]] = field(default_factory=list)
    parent_heard: list[ToParent] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.parent = Channel(
            ours,
            for_parent(),
            take=lambda: self.to_child.popleft() if self.to_child else None,
            heard=lambda message, _: self.parent_heard.append(message),
            lost=lambda reason: self.lost.append(f"parent: {reason}"),
        )
        self.child = Channel(
            theirs,
            for_child(),
            take=lambda: self.to_parent.popleft() if self.to_parent else None,
            heard=lambda message, attached: self.child_heard.append((message, attached)),
            lost=lambda reason: self.lost.append(f"child: {reason}"),
        )

    def close(self) -> None:
        self.parent.close()
        self.child.close()
        for _, attached in self.child_heard:
            if attached is not None:
                attached.close()


async def test_messages_go_both_ways() -> None:
    ends = Ends()
    ends.to_child.append(Outgoing(Roster((public_key(1),))))
    ends.to_parent.append(Outgoing(Ready()))
    ends.parent.kick()
    ends.child.kick()
    await until(lambda: ends.child_heard and ends.parent_heard)
    assert ends.child_heard == [(Roster((public_key(1),)), None)]
    assert ends.parent_heard == [Ready()]
    ends.close()
    assert ends.lost == []


async def test_sockets_go_with_their_messages_whatever_is_between() -> None:
    ends = Ends()
    pairs = [socket.socketpair() for _ in range(20)]
    for number, (given, _) in enumerate(pairs):
        ends.to_child.append(Outgoing(Roster((public_key(number),), whole=True)))
        ends.to_child.append(Outgoing(Adopt(public_key(number), bytes([number])), given))
    ends.parent.kick()
    await until(lambda: len(ends.child_heard) == 40)
    for message, attached in ends.child_heard:
        if not isinstance(message, Adopt):
            assert attached is None
            continue
        assert attached is not None
        attached.send(message.data)
        assert pairs[message.data[0]][1].recv(10) == message.data
    assert all(given.fileno() == -1 for given, _ in pairs), "what was handed over stays open here"
    ends.close()
    for _, other in pairs:
        other.close()


async def test_a_large_message_goes_as_the_reader_reads() -> None:
    ends = Ends()
    roster = Roster(tuple(public_key(1) for _ in range(50_000)))
    ends.to_child.append(Outgoing(roster))
    ends.parent.kick()
    await until(lambda: ends.child_heard)
    assert ends.child_heard == [(roster, None)]
    ends.close()


async def test_nothing_is_asked_for_while_there_is_no_room() -> None:
    ours, theirs = socket.socketpair()
    asked = 0

    def take() -> Outgoing:
        nonlocal asked
        asked += 1
        return Outgoing(Roster((public_key(1),) * 1000))

    lost: list[str] = []
    channel = Channel(ours, for_parent(), take=take, heard=lambda *_: None, lost=lost.append)
    channel.kick()
    before = asked
    channel.kick()
    assert before == asked < 1000
    channel.close()
    theirs.close()
    assert lost == []


async def test_an_end_that_is_gone_is_told_once() -> None:
    ends = Ends()
    ends.child.close()
    await until(lambda: ends.lost)
    ends.to_child.append(Outgoing(Ready()))
    ends.parent.kick()
    ends.parent.close()
    assert ends.lost == ["parent: the other end is gone"]


async def test_an_end_that_closed_is_seen_when_writing() -> None:
    ends = Ends()
    ends.child.close()
    ends.to_child.append(Outgoing(Ready()))
    ends.parent.kick()
    assert len(ends.lost) == 1


@pytest.mark.parametrize("data", [b"\xff" * 8, frame(Adopt(public_key(1), b""))])
async def test_what_cannot_be_understood_ends_it(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    lost: list[str] = []
    channel = Channel(ours, for_child(), take=lambda: None, heard=lambda *_: None, lost=lost.append)
    theirs.send(data)
    await until(lambda: lost)
    channel.close()
    theirs.close()


async def test_a_connection_for_which_there_is_no_room_comes_without_it() -> None:
    ends = Ends()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ours, theirs = socket.socketpair()
    limit = theirs.fileno() + 1
    ends.to_child.append(Outgoing(Adopt(public_key(1), b""), theirs))
    ends.to_child.append(Outgoing(Roster(())))
    ends.parent.kick()  # which closes `theirs` here
    fillers = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with suppress(OSError):
            while True:
                fillers.append(os.dup(ours.fileno()))
        await until(lambda: len(ends.child_heard) == 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)
    assert ends.child_heard == [(Adopt(public_key(1), b""), None), (Roster(()), None)]
    assert ends.lost == []
    assert ours.recv(1) == b"", "it was closed"
    ours.close()
    ends.close()

"""The child's end of the control socket."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.relay.test_sockets import opened
from tests.relay.wire_peers import VANTAGES
from tests.samples import public_key
from wireguard_mesh.model.relays import OWN_RELAY
from wireguard_mesh.relay import control
from wireguard_mesh.relay.control import Adopt, Ready, Roster, Setup, Stats, Stop, ToChild
from wireguard_mesh.relay.node import Node
from wireguard_mesh.relay.process import RelayProcess
from wireguard_mesh.relay.sockets import close

SETUP = Setup(relay=OWN_RELAY, vantages=VANTAGES, folder="")


async def converse(*messages: ToChild, then_close: bool = False) -> list[control.ToParent]:
    """Say these; what it said until it ended."""
    sockets = opened("127.0.0.1")
    descriptors = tuple(tuple(sock.dup().detach() for sock in vantage) for vantage in sockets)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    process = RelayProcess(theirs)
    running = asyncio.create_task(process.run())
    for message in messages:
        if isinstance(message, Setup):
            message = Setup(relay=OWN_RELAY, vantages=VANTAGES, folder="", sockets=descriptors)
        ours.send(control.frame(message))
    reader = control.for_parent()
    said: list[control.ToParent] = []
    async with asyncio.timeout(5):
        while then_close and not any(isinstance(each, Stats) for each in said):
            said += reader.feed(await asyncio.get_running_loop().sock_recv(ours, 65536))
        if then_close:
            ours.close()
        await running
        while not then_close and (data := await asyncio.get_running_loop().sock_recv(ours, 65536)):
            said += reader.feed(data)
    ours.close()
    close(sockets)
    return said


async def test_it_is_ready_when_it_knows_who_is_registered() -> None:
    said = await converse(SETUP, Roster((public_key(1),), whole=True), then_close=True)
    assert said[0] == Ready(0)
    assert isinstance(said[1], Stats)
    assert said[1].registered == 1


async def test_it_ends_when_it_is_told_to() -> None:
    assert Ready(0) in await converse(SETUP, Roster((), whole=True), Roster((public_key(1),)), Stop())


@pytest.mark.parametrize("message", [Roster(()), Adopt(public_key(1), b"")])
async def test_it_ends_when_its_parent_makes_no_sense(message: ToChild) -> None:
    assert await converse(message) == []


async def test_it_ends_when_it_cannot_begin(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_node: Node) -> int:
        raise ValueError("something unheard of")

    monkeypatch.setattr(Node, "begin", fail)
    assert await converse(SETUP, Roster((), whole=True)) == []
    assert "something unheard of" in caplog.text


def test_as_a_program_it_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-m", "wireguard_mesh.relay", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            cwd=tmp_path,
        )
    ours.close()
    assert child.wait(20) == 0

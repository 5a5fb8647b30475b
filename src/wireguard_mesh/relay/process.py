"""The relay process: does what its parent says, and ends when it is gone."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from typing import Final

from wireguard_mesh.core.rendezvous import Observation
from wireguard_mesh.core.sources import WebSource, endpoint_of
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.relay.channel import Channel, Outgoing
from wireguard_mesh.relay.control import Adopt, Observed, Ready, Roster, Setup, Stop, ToChild, ToParent, for_child
from wireguard_mesh.relay.node import Node

log = logging.getLogger(__name__)

STATS_SECONDS: Final = 2.0
REPORT_SECONDS: Final = 0.02  # what is seen within is told at once
REPEAT_SECONDS: Final = 1.0  # until the same peer is told of again: one that moves with each packet costs us, not them


class RelayProcess:
    """The child's end of the control socket, with the relay behind it."""

    def __init__(self, control: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._node: Node | None = None
        self._has_begun = False
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._first: list[ToParent] = []
        # By peer and vantage point, so that of what the parent has not read only the newest is kept.
        self._observed: dict[tuple[PublicKey, int], Observed] = {}
        self._later: dict[tuple[PublicKey, int], Observed] = {}
        self._told: set[tuple[PublicKey, int]] = set()
        self._is_stats_due = False
        self._channel: Channel[ToChild] = Channel(
            control, for_child(), take=self._take, heard=self._heard, lost=self._end
        )

    async def run(self) -> None:
        """Until the parent says so, or is gone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # The parent decides: Ctrl-C in a terminal reaches both, and it may have something to say before.
            self._loop.add_signal_handler(number, lambda: None)
        self._report()
        self._repeat()
        self._count()
        reason = await self._ended
        log.debug("stage=ended reason=%s", reason)
        if self._node is not None:
            self._node.end()
        self._channel.close()

    def _heard(self, message: ToChild, attached: socket.socket | None) -> None:
        try:
            self._obey(message, attached)
        except Exception:
            # Half begun it would say that it lives, and relay nothing; the next one may have more luck.
            log.exception("the relay cannot do what it is told")
            self._end("it failed")

    def _obey(self, message: ToChild, attached: socket.socket | None) -> None:
        match message:
            case Setup():
                logging.getLogger().setLevel(message.log_level)
                self._node = Node(message)
            case Roster() if self._node is not None:
                self._node.roster(message)
                if not self._has_begun:
                    self._has_begun = True
                    self._first += (Ready(self._node.begin()), self._node.stats())
                    self._channel.kick()
            case Adopt() if self._node is not None:
                if attached is not None:
                    self._node.adopt(attached, message.key, message.data)
            case Stop():
                self._end("it was told to")
            case _:
                self._end("the parent spoke out of turn")

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    def _report(self) -> None:
        self._loop.call_later(REPORT_SECONDS, self._report)
        if self._node is None:
            return
        for observation in self._node.observations():
            place = observation.public_key, observation.vantage
            (self._later if place in self._told else self._observed)[place] = _observed(observation)
            self._told.add(place)
        if self._observed:
            self._channel.kick()

    def _repeat(self) -> None:
        self._loop.call_later(REPEAT_SECONDS, self._repeat)
        self._observed.update(self._later)
        self._told = set(self._later)
        self._later = {}

    def _count(self) -> None:
        self._loop.call_later(STATS_SECONDS, self._count)
        self._is_stats_due = self._node is not None
        self._channel.kick()

    def _take(self) -> Outgoing | None:
        if self._first:
            return Outgoing(self._first.pop(0))
        if self._observed:
            return Outgoing(self._observed.pop(next(iter(self._observed))))
        if self._is_stats_due and self._node is not None:
            self._is_stats_due = False
            return Outgoing(self._node.stats())
        return None


def _observed(observation: Observation) -> Observed:
    source = observation.source
    endpoint = None if source is None else endpoint_of(source)
    return Observed(observation.public_key, observation.vantage, endpoint, isinstance(source, WebSource))


def main() -> None:
    """The entry point: the number of the control socket's descriptor is the only argument."""
    logging.basicConfig(format="%(asctime)s %(levelname)s relay: %(message)s", stream=sys.stderr)
    control = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(control))


async def _run(control: socket.socket) -> None:
    await RelayProcess(control).run()


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # a relay that stands alone carries nothing of the server's
        return None
    return uvloop.Loop

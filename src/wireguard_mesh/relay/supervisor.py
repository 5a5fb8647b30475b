"""The parent's side of a relay: keeps its process running, tells it who is registered, hears what it sees.

The process is started anew whenever it ends, at first at once. The UDP sockets stay open here, so what arrives
meanwhile waits in them; sessions and routes come back from the journal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import msgspec

from wireguard_mesh.core.backoff import Backoff
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.relay.channel import Channel, Outgoing
from wireguard_mesh.relay.control import Adopt, Observed, Ready, Roster, Setup, Stats, Stop, ToParent, for_parent
from wireguard_mesh.relay.sockets import Sockets

log = logging.getLogger(__name__)

MODULE: Final = "wireguard_mesh.relay"
RESTART: Final = Backoff(first=0.05, longest=5.0)
STEADY_SECONDS: Final = 30.0  # a child that lived so long died of something new
KEEPS_ENDING: Final = 5  # times in a row
LOOK_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0
DYING_SECONDS: Final = 0.5  # from the end of its socket to its own
SILENCE_SECONDS: Final = 30.0  # it sends `Stats` each few seconds, so one that is silent hangs
MAX_WAITING: Final = 256  # connections on their way to the child
_OWN_VARIABLES: Final = "VPN_"


class RelaySupervisor:
    """One relay's process. `run` until `stop`; everything else may be called at any time and never blocks.

    `on_observed` and `on_stats` are called on the loop that `run` runs on. `sockets` belong to the caller, who closes
    them after `run`.
    """

    def __init__(
        self,
        sockets: Sockets,
        setup: Setup,
        on_observed: Callable[[Observed], None],
        on_stats: Callable[[Stats], None],
    ) -> None:
        descriptors = tuple(tuple(sock.fileno() for sock in vantage) for vantage in sockets)
        self._setup = msgspec.structs.replace(setup, sockets=descriptors)
        self._on_observed, self._on_stats = on_observed, on_stats
        self._registered: set[PublicKey] = set()
        self._changed: set[PublicKey] = set()
        self._waiting: deque[Outgoing] = deque()
        self._first: deque[Outgoing] = deque()
        self._channel: Channel[ToParent] | None = None
        self._ended = asyncio.Event()
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._is_ready = False
        self._has_stopped = False
        self._has_said = False
        self._heard_at = 0.0

    @property
    def is_ready(self) -> bool:
        """The process relays now."""
        return self._is_ready

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process is not None else None

    def roster(self, add: Iterable[PublicKey] = (), remove: Iterable[PublicKey] = (), *, whole: bool = False) -> None:
        """Who is registered: a difference, or with `whole` everybody. What is not sent yet is merged."""
        if whole:
            after = set(add)
            self._changed |= self._registered ^ after
            self._registered = after
        else:  # at the cost of what changed
            gone, come = set(remove), set(add)
            self._changed |= {key for key in gone | come if (key in come) is not (key in self._registered)}
            self._registered -= gone
            self._registered |= come
        self._kick()

    def adopt(self, sock: socket.socket, data: bytes, key: PublicKey) -> bool:
        """Hand over a connection that has become a WebSocket; `data`: bytes read behind its request.

        The socket is ours from now on. False: the relay takes none now, and it is closed.
        """
        if self._channel is None or len(self._waiting) >= MAX_WAITING:
            sock.close()
            return False
        self._waiting.append(Outgoing(Adopt(key, data), sock))
        self._kick()
        return True

    def stop(self) -> None:
        """End the process, and then `run`."""
        self._stopping.set()
        self._kick()

    async def run(self) -> None:
        """Keep the process running until `stop`, or until this task is cancelled."""
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            reason = await self._live()
            if self._stopping.is_set():
                return
            failures = 1 if loop.time() - began > STEADY_SECONDS else failures + 1
            self._say(reason, failures)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESTART.delay(failures, random.random())):
                    await self._stopping.wait()

    def _say(self, reason: str, failures: int) -> None:
        if failures == 1:
            log.error("the relay process ended and is started anew reason=%s", reason)
            self._has_said = True
        elif failures == KEEPS_ENDING:
            log.error("the relay process keeps ending, which is not said again reason=%s", reason)
        else:
            log.debug("the relay process ended again reason=%s failures=%d", reason, failures)

    async def _live(self) -> str:
        """One life of the process; why it ended."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                process = self._process = await self._spawn(theirs)
        except OSError as error:
            ours.close()
            return f"it cannot be started: {error.strerror}"
        self._ended.clear()
        self._heard_at = asyncio.get_running_loop().time()
        reasons: list[str] = []

        def lost(reason: str) -> None:
            reasons.append(reason)
            self._ended.set()

        self._first = deque([Outgoing(self._setup), Outgoing(Roster(tuple(self._registered), whole=True))])
        self._changed.clear()
        self._channel = Channel(ours, for_parent(), take=self._take, heard=self._heard, lost=lost)
        try:
            self._kick()
            return await self._watch(process, reasons)
        finally:
            self._forget()
            await _end(process)
            self._process = None

    async def _watch(self, process: asyncio.subprocess.Process, reasons: list[str]) -> str:
        gone = asyncio.create_task(process.wait())
        lost = asyncio.create_task(self._ended.wait())
        stop = asyncio.create_task(self._stopping.wait())
        tasks = (gone, lost, stop)
        try:
            while not any(task.done() for task in tasks):
                await asyncio.wait(tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if asyncio.get_running_loop().time() - self._heard_at > SILENCE_SECONDS:
                    return "it says nothing any more"
            if stop.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(STOP_SECONDS):
                        await asyncio.shield(gone)
                return "it was told to"
            if gone.done():
                return f"exit code {gone.result()}"
            return reasons[0]
        finally:
            for task in tasks:
                task.cancel()

    def _forget(self) -> None:
        self._is_ready = False
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        while self._waiting:
            outgoing = self._waiting.popleft()
            if outgoing.attached is not None:
                outgoing.attached.close()

    async def _spawn(self, control: socket.socket) -> asyncio.subprocess.Process:
        descriptors = [number for vantage in self._setup.sockets for number in vantage]
        # Where this program's own modules are, also when it runs out of a single file. Flags of the parent, as a
        # database's URL with a password, are none of its business.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # no module is looked for where somebody happened to stand
            "-m",
            MODULE,
            str(control.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(control.fileno(), *descriptors),
            env=environment,
        )

    def _kick(self) -> None:
        if self._channel is not None:
            self._channel.kick()

    def _take(self) -> Outgoing | None:
        if self._first:
            return self._first.popleft()
        if self._stopping.is_set():
            return self._take_stop()
        if self._changed:
            added = tuple(key for key in self._changed if key in self._registered)
            removed = tuple(key for key in self._changed if key not in self._registered)
            self._changed.clear()
            return Outgoing(Roster(added, removed))
        return self._waiting.popleft() if self._waiting else None

    def _take_stop(self) -> Outgoing | None:
        if self._has_stopped:
            return None
        self._has_stopped = True
        return Outgoing(Stop())

    def _heard(self, message: ToParent, _attached: socket.socket | None) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        match message:
            case Observed():
                self._on_observed(message)
            case Stats():
                self._on_stats(message)
            case Ready():
                self._is_ready = True
                if self._has_said:
                    log.info("the relay process is back sessions=%d", message.restored)
                    self._has_said = False


async def _end(process: asyncio.subprocess.Process) -> None:
    # One that is dying is left to it: to kill it is to look at it, and that takes away what asyncio waits for.
    with suppress(TimeoutError):
        async with asyncio.timeout(DYING_SECONDS):
            await process.wait()
            return
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()

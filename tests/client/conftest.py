"""What the client's tests share: a real server on loopback, scripted ones that misbehave, agents on fakes."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tests.client.web_relay import WebRelay, start_web_relay
from tests.samples import NETWORK, peer, private_key, public_key
from tests.waiting import until as until  # so that tests of this folder find it here, too
from wireguard_mesh.client import clock
from wireguard_mesh.client.agent import Agent
from wireguard_mesh.client.membership import Intervals
from wireguard_mesh.client.options import AgentOptions, Flags
from wireguard_mesh.client.state import ClientState, StateFolder
from wireguard_mesh.core import netmap
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.peers import NetworkMap
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.status import Status
from wireguard_mesh.server.config import load_settings
from wireguard_mesh.server.daemon import Running, run_server
from wireguard_mesh.system.fake import FakeSystem
from wireguard_mesh.wireguard.fake import FakeBackend
from wireguard_mesh.wireguard.interface import Backend

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WG0 = InterfaceName("wg0")
DEADLINE = 20.0  # seconds; nothing here takes one


def network_map(*numbers: int, revision: int = 1, own: int = 1, epoch: str = "e") -> NetworkMap:
    """The map of peer `own` with these others in it, as it comes from a server."""
    update = MapUpdate(
        kind=UpdateKind.SNAPSHOT,
        epoch=epoch,
        revision=revision,
        network=NETWORK,
        upsert=tuple(peer(number) for number in (own, *numbers)),
    )
    return netmap.apply(None, update, public_key(own))


def _failure(task: asyncio.Task[None]) -> BaseException:
    return (None if task.cancelled() else task.exception()) or RuntimeError("the server ended before it was ready")


class RealServer:
    """A vpn-server on loopback, that can be stopped and started again with all that it knows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._task: asyncio.Task[None] | None = None
        self._port = 0

    @property
    def address(self) -> ServerAddress:
        return ServerAddress("http", "127.0.0.1", self._port)

    async def start(self) -> None:
        flags = {"listen": f"127.0.0.1:{self._port}", "config": str(self._folder / "server.json")}
        settings = load_settings(flags, {})
        ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(run_server(settings, ready.set_result))

        def fail(task: asyncio.Task[None]) -> None:
            if not ready.done():
                ready.set_exception(_failure(task))

        self._task.add_done_callback(fail)
        await ready
        self._port = ready.result().listen.port

    def lose_database(self) -> None:
        """Its key stays."""
        for file in self._folder.glob("peers.db*"):
            file.unlink()

    async def stop(self) -> None:
        """As an administrator does it: by the signal, which the server's own handler in this loop gets."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            signal.raise_signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE):
                await task


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RealServer]:
    one = RealServer(tmp_path / "server")
    await one.start()
    yield one
    await one.stop()


@dataclass
class Scripted:
    """Each connection is handled by `talk`, which a test sets."""

    address: ServerAddress
    talk: Talk | None = None
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request, head and body; empty at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    made = Scripted(ServerAddress("http", "127.0.0.1", 1))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        try:
            if made.talk is not None:
                await made.talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.address = ServerAddress("http", "127.0.0.1", listener.sockets[0].getsockname()[1])
    yield made
    listener.close()


def answering(made: Scripted, *answers: bytes) -> Talk:
    """Answers one request after the other, the last answer for all that follow."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_request(reader):
            made.requests.append(request)
            writer.write(answers[min(len(made.requests), len(answers)) - 1])
            await writer.drain()

    return talk


@dataclass
class RunningAgent:
    """An agent that runs on fakes, and its outcome."""

    agent: Agent
    backend: FakeBackend
    system: FakeSystem
    folder: StateFolder
    task: asyncio.Task[None]
    directory: Path

    async def status(self) -> Status:
        answer = await self.ask(local.StatusRequest())
        assert isinstance(answer, Status)
        return answer

    async def ask(self, request: local.Request) -> local.Answer:
        from wireguard_mesh.protocol.codec import encode

        reader, writer = await asyncio.open_unix_connection(self.directory / "wg0.sock", limit=local.MAX_ANSWER)
        writer.write(encode(request) + b"\n")
        line = await reader.readline()
        writer.close()
        return local.answer.decode(line)

    async def up(self) -> None:
        waiting = asyncio.create_task(self.agent.parts.device.is_up.wait())
        async with asyncio.timeout(DEADLINE):
            done, _ = await asyncio.wait([waiting, self.task], return_when=asyncio.FIRST_COMPLETED)
        if self.task in done:
            waiting.cancel()
            await self.task

    async def end(self) -> None:
        self.agent.stop()
        async with asyncio.timeout(DEADLINE):
            await self.task


class Agents:
    """Starts agents; each number has its key, folder, device and system, which outlive the agent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: dict[int, tuple[FakeBackend, FakeSystem]] = {}
        self.running: list[RunningAgent] = []

    def start(self, number: int, address: ServerAddress, flags: Flags | None = None, **state: object) -> RunningAgent:
        place = self._folder / f"agent{number}"
        place.mkdir(exist_ok=True)
        backend, system = self._parts.setdefault(number, (FakeBackend(), FakeSystem()))
        folder = StateFolder(place)
        known = folder.load() or ClientState(private_key=private_key(number), hostname=f"host-{number}")
        known = msgspec.structs.replace(known, server=address, **state)
        folder.save(known)

        async def open_backend(_name: InterfaceName) -> Backend:
            return backend

        options = AgentOptions(
            folder=folder,
            directory=str(place),
            state=known,
            flags=flags or Flags(intervals=Intervals(heartbeat=1.0, sync=5.0)),
        )
        agent = Agent(options, open_backend, system, clock.now)
        made = RunningAgent(agent, backend, system, folder, asyncio.create_task(agent.run()), place)
        self.running.append(made)
        return made


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    made = Agents(tmp_path)
    yield made
    for one in made.running:
        if not one.task.done():
            one.agent.stop()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(one.task, DEADLINE)


@pytest.fixture(autouse=True)
def no_frozen_garbage() -> Iterator[None]:
    """Agents freeze the collector's generations, which would keep one test's garbage for all that follow."""
    import gc

    yield
    gc.unfreeze()


@pytest.fixture
async def web() -> AsyncIterator[WebRelay]:
    """A relay's end of WebSockets."""
    made = await start_web_relay()
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def running(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """It runs as a task, which is cancelled at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Faulty:
    """In place of a method: a fault of ours each time that it is called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, *_: object) -> None:
        self.times += 1
        raise RuntimeError("a fault")

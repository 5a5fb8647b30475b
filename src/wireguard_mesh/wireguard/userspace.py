"""WireGuard in userspace: wireguard-go, told what to do over its Unix socket.

The program opens tunnel and socket, then goes on by itself in a session of its own: it outlives the agent, and a new
agent finds it by its socket. It gets its keys over the socket, never on its command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wireguard_mesh.model.devices import BackendKind, DeviceChange, ObservedDevice
from wireguard_mesh.model.errors import Conflict, InvalidValue, NotFound, NotPermitted, Unavailable, Unsupported
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.netlink.connection import NetlinkError
from wireguard_mesh.netlink.rtnetlink import Rtnetlink
from wireguard_mesh.protocol import uapi
from wireguard_mesh.wireguard.privilege import may_administer
from wireguard_mesh.wireguard.stepping import in_steps, to_the_end

PROGRAM: Final = "wireguard-go"
SOCKETS: Final = Path("/run/wireguard")  # where wireguard-go and wg have it (ipc/uapi_unix.go)
TUN: Final = Path("/dev/net/tun")
START_TIMEOUT: Final = 10.0  # seconds until the program has its tunnel and its socket
ANSWER_TIMEOUT: Final = 10.0  # seconds; adding 1,000 peers takes it some 0.1 s
STOP_TIMEOUT: Final = 5.0  # seconds from the link's end to the program's
# Seconds that the program is given, after its answer, to send what a step asked for. Measured while it carried
# 20 Mbit/s on two busy cores: of 200 packets 191 left in time with 0, 200 with this; a flow lost 1.2 packets a step.
PROBE_GAP: Final = 0.0002
_READ: Final = 65536

# The program's own switches (main.go). "silent" makes it send the daemon's output nowhere: a log would grow for ever.
# WG_PROCESS_FOREGROUND would keep it our child; without it the first process prints advice to use the kernel's
# WireGuard, to nowhere as well.
_QUIET: Final = {"LOG_LEVEL": "silent"}
_NOT_INHERITED: Final = frozenset({"WG_TUN_FD", "WG_UAPI_FD", "WG_PROCESS_FOREGROUND"})

_INSTALL: Final = f"install it: apt-get install {PROGRAM}"
_MAKE_TUN: Final = "run 'modprobe tun', or give the container the device (--device /dev/net/tun)"
_BE_ROOT: Final = "run as root, or with the capability CAP_NET_ADMIN"


def check_machine(tun: Path = TUN) -> str:
    """The program's path, if this machine can run it. Raises `Unsupported` or `NotPermitted`, saying what to do."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise Unsupported(f"{PROGRAM} is not installed", _INSTALL)
    try:
        os.close(os.open(tun, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        raise NotPermitted(f"{tun} may not be opened", _BE_ROOT) from None
    except OSError as error:
        raise Unsupported(f"{tun} cannot be opened ({os.strerror(error.errno or 0)})", _MAKE_TUN) from None
    return program


class UserspaceBackend:
    """wireguard-go devices. `sockets` is where their Unix sockets are."""

    kind: Final = BackendKind.USERSPACE

    def __init__(self, sockets: Path = SOCKETS) -> None:
        self._sockets = sockets
        self._routing: Rtnetlink | None = None

    async def create(self, name: InterfaceName, mtu: int) -> None:
        """Start the program. See `Backend.create`."""
        if _stands(name):
            raise Conflict(f"an interface named {name} stands already", "choose another with -interface")
        program = check_machine()
        await self._start(program, name)
        await self._exchange(name, uapi.GET)
        link = self._netlink().link(name)
        if link is None:
            raise Unavailable(f"the interface {name} vanished as soon as it was made")
        if link.mtu != mtu:
            self._netlink().set_mtu(link.index, mtu)

    async def _start(self, program: str, name: InterfaceName) -> None:
        """Returns when tunnel and socket are there: the program's first process ends only then."""
        environment = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        process = await asyncio.create_subprocess_exec(
            program,
            name,
            env=environment | _QUIET,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = await asyncio.wait_for(process.wait(), START_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise Unavailable(f"{PROGRAM} did not make the interface {name} within {START_TIMEOUT:.0f} s") from None
        if status == 0:
            return
        if not may_administer():
            raise NotPermitted(f"{PROGRAM} may not make the interface {name}", _BE_ROOT)
        reason = f"see why: LOG_LEVEL=verbose {PROGRAM} -f {name}"
        raise Unsupported(f"{PROGRAM} could not make the interface {name} (exit code {status})", reason)

    async def read(self, name: InterfaceName) -> ObservedDevice | None:
        """Ask the program. See `Backend.read`."""
        try:
            answer = await self._exchange(name, uapi.GET)
        except NotFound:
            return None
        try:
            return uapi.parse_get(name, answer)
        except InvalidValue as error:
            raise Unavailable(error.message) from None

    async def apply(self, name: InterfaceName, change: DeviceChange) -> None:
        """Tell the program, all in one. See `Backend.apply`."""
        if not change.is_empty:
            _check_answer(name, change, await self._exchange(name, uapi.encode_set(change)))

    async def probe(self, name: InterfaceName, steps: Sequence[DeviceChange]) -> None:
        """See `Backend.probe`."""
        await to_the_end(lambda: self._probe(name, steps))

    def _probe(self, name: InterfaceName, steps: Sequence[DeviceChange]) -> None:
        with _faults_named(name), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT)
            connection.connect(str(self._path(name)))

            def apply(change: DeviceChange) -> None:
                connection.sendall(uapi.encode_set(change))
                _check_answer(name, change, _receive_answer(connection))

            in_steps(apply, steps, PROBE_GAP)

    async def remove(self, name: InterfaceName) -> None:
        """Delete the link, with which the program ends. See `Backend.remove`."""
        path = self._path(name)
        if not path.is_socket():
            return  # not ours: another kind of interface may have the name
        connection = await self._connect(name)
        try:
            link = self._netlink().link(name)
            if connection is not None and link is not None:
                self._netlink().delete_link(link.index)
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise error.as_mesh_error(f"the interface {name} cannot be removed") from error
        if connection is not None:
            reader, writer = connection
            with contextlib.suppress(TimeoutError, OSError):  # the program's end closes the connection
                await asyncio.wait_for(reader.read(), STOP_TIMEOUT)
            writer.close()
        # The program removes its socket itself, if it was not killed; if it hangs, this tells it to end.
        path.unlink(missing_ok=True)

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._routing is not None:
            self._routing.close()
            self._routing = None

    def _path(self, name: InterfaceName) -> Path:
        return self._sockets / f"{name}.sock"

    def _netlink(self) -> Rtnetlink:
        if self._routing is None:
            self._routing = Rtnetlink()
        return self._routing

    async def _connect(self, name: InterfaceName) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the program, or None if none runs."""
        try:
            return await asyncio.open_unix_connection(self._path(name))
        except OSError:
            return None

    async def _exchange(self, name: InterfaceName, request: bytes) -> bytes:
        """One question and its answer. Raises `NotFound` if no program listens, `NotPermitted`, `Unavailable`."""
        with _faults_named(name):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(self._path(name))
                try:
                    writer.write(request)
                    return await _read_answer(reader, writer)
                finally:
                    writer.close()


@contextlib.contextmanager
def _faults_named(name: InterfaceName) -> Iterator[None]:
    """What may go wrong with the socket, as the mesh's errors."""
    try:
        yield
    except TimeoutError:
        raise Unavailable(f"{PROGRAM} did not answer for {name} within {ANSWER_TIMEOUT:.0f} s") from None
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotFound(f"no {PROGRAM} runs for {name}") from None
    except PermissionError:
        raise NotPermitted(f"the socket of {name} may not be opened", _BE_ROOT) from None
    except OSError as error:
        raise Unavailable(f"{PROGRAM} cannot be asked about {name}: {error.strerror or error}") from None


def _check_answer(name: InterfaceName, change: DeviceChange, answer: bytes) -> None:
    try:
        code = abs(uapi.parse_set(answer))
    except InvalidValue as error:
        raise Unavailable(error.message) from None
    if code == errno.EADDRINUSE:
        raise Conflict(f"UDP port {change.listen_port} is in use", "choose another with -listen-port")
    if code:
        raise Unavailable(f"{PROGRAM} refused a change of {name}: {os.strerror(code)}")


def _receive_answer(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(uapi.END):
        part = connection.recv(_READ)
        if not part:
            raise _closed_early()
        answer += part
        if len(answer) > uapi.MAX_ANSWER:
            raise _too_long()
    return answer


def _closed_early() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, "it closed the connection in the midst of its answer")


def _too_long() -> Unavailable:
    return Unavailable(f"{PROGRAM} sent an answer of more than {uapi.MAX_ANSWER} bytes")


async def _read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    answer = bytearray()
    # wireguard-go reads a large request while it is sent; draining first would be no fault, but not reading would.
    await writer.drain()
    while not answer.endswith(uapi.END):
        part = await reader.read(_READ)
        if not part:
            raise _closed_early()
        answer += part
        if len(answer) > uapi.MAX_ANSWER:
            raise _too_long()
    return bytes(answer)


def _stands(name: InterfaceName) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True

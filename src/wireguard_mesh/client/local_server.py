"""The agent's end of the Unix socket: one request a connection, the caller known from the socket."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from wireguard_mesh.core.ratelimit import RateLimiter
from wireguard_mesh.model.errors import InvalidValue, MeshError, NotPermitted, Unavailable
from wireguard_mesh.protocol import local
from wireguard_mesh.protocol.codec import encode

MAX_CALLERS: Final = 32  # at once of root and the agent's own user, and as many of all others
MAX_CALLERS_OF_USER: Final = 8  # of them of one of the others
REQUEST_TIMEOUT: Final = 5.0  # seconds for the caller to send its line, and to take the answer
_SOCKET_MODE: Final = 0o666  # everybody may connect; what one may do is decided by who one is
_UCRED: Final = struct.Struct("3i")  # unix(7): process, user and group id
ROOT: Final = 0

# At once, and then a second, of one of the other users.
_NETCHECKS: Final = (3, 0.1)
_PINGS: Final = (20, 5.0)  # ping of iputils lets users do as much

_BUSY: Final = Unavailable("the agent is asked too much at once", "try again")
_FAULT: Final = Unavailable("the agent runs, but failed to answer by a fault of this program", "its log says more")

Handler = Callable[[local.Request], Awaitable[local.Answer]]

log = logging.getLogger(__name__)


class LocalServer:
    """Answers on the socket at `path` until closed."""

    def __init__(self, path: Path, handler: Handler, own_uid: int | None = None) -> None:
        self._path = path
        self._handler = handler
        self._own_uid = os.getuid() if own_uid is None else own_uid
        self._server: asyncio.Server | None = None
        self._fault = ""  # the last one of ours, which is logged once
        self._netchecks = RateLimiter(*_NETCHECKS, what="the network was tried out just now")
        self._pings = RateLimiter(*_PINGS, what="pings come too fast")
        self._callers: dict[asyncio.Task[None], int] = {}  # and who they are

    async def open(self) -> None:
        """Listen. What an agent that was killed left there is replaced: the lock says that it is dead."""
        self._path.unlink(missing_ok=True)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=local.MAX_REQUEST)
            self._path.chmod(_SOCKET_MODE)
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be opened ({error.strerror})") from None

    async def close(self) -> None:
        """Stop listening, let those who may change something have their answers, and take the socket away."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for task, uid in self._callers.items():
            if not self._is_privileged(uid):
                task.cancel()  # whoever is silent must not keep the agent from ending
        if self._callers:
            await asyncio.wait(self._callers, timeout=REQUEST_TIMEOUT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server runs each connection in a task"
        try:
            uid = _caller(writer)
            has_room = self._has_room(uid)
            self._callers[task] = uid
            answer = await self._answer(reader, uid) if has_room else _refused(_BUSY)
            if answer is not None:
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    writer.write(encode(answer) + b"\n")
                    await writer.drain()
        except (OSError, TimeoutError):
            pass  # the caller went away, or never came to the point
        finally:
            self._callers.pop(task, None)
            writer.close()

    def _is_privileged(self, uid: int) -> bool:
        return uid in {ROOT, self._own_uid}

    def _has_room(self, uid: int) -> bool:
        """However many of the others ask, there is room for those that may change something."""
        alike = [other for other in self._callers.values() if self._is_privileged(other) == self._is_privileged(uid)]
        return len(alike) < MAX_CALLERS and (self._is_privileged(uid) or alike.count(uid) < MAX_CALLERS_OF_USER)

    def _check(self, request: local.Request, uid: int) -> None:
        """Raises `NotPermitted` for what only root and the agent's own user may do, `RateLimited` for questions that
        make the agent send packets and come too fast."""
        if not isinstance(request, local.Question):
            raise NotPermitted("only root and the agent's own user may do this", "use sudo")
        if not isinstance(request, local.StatusRequest):
            limiter = self._netchecks if isinstance(request, local.NetcheckRequest) else self._pings
            limiter.take(uid, time.monotonic())

    async def _answer(self, reader: asyncio.StreamReader, uid: int) -> local.Answer | None:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return None
            except asyncio.LimitOverrunError:
                line = b""
        try:
            request = local.request.decode(line)
            if not self._is_privileged(uid):
                self._check(request, uid)
            return await self._handler(request)
        except InvalidValue as error:
            return _refused(error)
        except MeshError as error:
            log.info("refused a local request: %s", error)
            return _refused(error)
        except Exception as error:
            # A fault of ours: the next request may well be answered, and whoever asked is to know that the agent runs.
            if repr(error) != self._fault:
                log.exception("a local request failed by a fault of this program")
            self._fault = repr(error)
            return _refused(_FAULT)


def _refused(error: MeshError) -> local.Refused:
    return local.Refused(code=error.code, error=error.message, hint=error.hint)


def _caller(writer: asyncio.StreamWriter) -> int:
    connection = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid

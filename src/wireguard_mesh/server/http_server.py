"""uvicorn on given sockets, without its wakeups ten times a second and without its own signal handlers."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from wireguard_mesh.server.connections import KEEP_ALIVE_SECONDS, WRITE_SECONDS, GuardedProtocol
from wireguard_mesh.server.shared import MAX_CONNECTIONS, Shared

GRACE_SECONDS: Final = 3
OTHER_FILES: Final = 100  # descriptors that are no connections: database, logs, libraries
_BACKLOG: Final = 2048


class HttpServer(uvicorn.Server):
    """Serves an application on given sockets until told to stop; signals are the caller's."""

    def __init__(self, app: Any, per_source: int = 0, max_connections: int | None = None) -> None:
        """`per_source`: connections of one address, or /64 of IPv6; 0 is no limit. Loopback has none.

        `max_connections`: of all together; None is as many as the limit of open files allows.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=int(KEEP_ALIVE_SECONDS),
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._shared = Shared(per_source, _possible_connections() if max_connections is None else max_connections)
        self.server_state = self._shared
        self._stop = asyncio.Event()

    async def serve_on(self, sockets: list[socket.socket]) -> None:
        """Serve until `stop`; then answer what is under way, for `GRACE_SECONDS` at most."""
        for listener in sockets:
            _give_up_the_dead(listener)
        await self.serve(sockets)

    def stop(self) -> None:
        """Stop accepting, and let `serve_on` return soon."""
        self._shared.stopping = True
        self._stop.set()

    async def main_loop(self) -> None:
        """In place of uvicorn's, which looks ten times a second."""
        await self._stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """In place of uvicorn's, which ends the process by the signal again."""
        yield


def _possible_connections() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if limit == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, limit - OTHER_FILES)


def _give_up_the_dead(listener: socket.socket) -> None:
    # Accepted connections inherit it: what is sent to a machine that is gone is not tried for a quarter of an hour
    # (tcp(7), TCP_USER_TIMEOUT).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))

"""uvicorn on given sockets, without its wakeups ten times a second and without its own signal handlers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from wireguard_mesh.server.connections import KEEP_ALIVE_SECONDS, GuardedProtocol, Shared

GRACE_SECONDS: Final = 3
_BACKLOG: Final = 2048


class HttpServer(uvicorn.Server):
    """Serves an application on given sockets until told to stop; signals are the caller's."""

    def __init__(self, app: Any, per_source: int = 0) -> None:
        """`per_source`: connections of one address, or /64 of IPv6; 0 is no limit. Loopback has none."""
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
        self.server_state = Shared(per_source)
        self._stop = asyncio.Event()

    async def serve_on(self, sockets: list[socket.socket]) -> None:
        """Serve until `stop`; then answer what is under way, for `GRACE_SECONDS` at most."""
        await self.serve(sockets)

    def stop(self) -> None:
        """Stop accepting, and let `serve_on` return soon."""
        self._stop.set()

    async def main_loop(self) -> None:
        """In place of uvicorn's, which looks ten times a second."""
        await self._stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """In place of uvicorn's, which ends the process by the signal again."""
        yield

"""TCP connections to the server: outside of the tunnel, through a proxy if need be, and also when the name service does
not answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from wireguard_mesh.client.proxy import tunnel
from wireguard_mesh.core.proxies import Proxy
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.servers import ServerAddress

RESOLVE_TIMEOUT: Final = 5.0  # seconds; the usual resolver's own timeout for one attempt
CONNECT_TIMEOUT: Final = 5.0  # seconds for each address
PROXY_TIMEOUT: Final = 10.0  # seconds for a proxy to reach the server, and for TLS with that
MAX_ADDRESSES: Final = 8  # tried of those that a name has
MAX_REMEMBERED: Final = 4


class Unreachable(Unavailable):
    """There is no connection to the server at all."""


class Dialer:
    """Connects to one server. `remembered` are addresses at which it was reached before, the last one first; through a
    `proxy` those that its name has here, if it has any.

    `mark` is put on the packets (`SO_MARK`), so that policy routing keeps them out of an exit node's tunnel; without
    the privilege they go unmarked.
    """

    def __init__(
        self, server: ServerAddress, *, mark: int = 0, remembered: Sequence[Address] = (), proxy: Proxy | None = None
    ) -> None:
        self.server = server
        self.remembered = tuple(remembered)
        self._mark = mark
        self.proxy = proxy
        self._lookup: asyncio.Task[None] | None = None
        self._tls = ssl.create_default_context() if server.secure else None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection, TLS included. Raises `Unreachable`."""
        if self.proxy is not None:
            return await self._connect_through(self.proxy)
        failures: list[str] = []
        for address in await self._addresses():
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    connection = await self._secured(await self._connect_to(address, self.server.port))
            except OSError as error:  # a timeout is one too
                failures.append(self._failure(str(address), error))
            else:
                kept = (address, *(other for other in self.remembered if other != address))
                self.remembered = kept[:MAX_REMEMBERED]
                return connection
        raise Unreachable(f"the server {self.server} cannot be reached ({'; '.join(failures)})")

    async def _connect_through(self, proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._look_up()
        failures: list[str] = []
        for address in await _addresses_of(proxy.host, proxy.port, "check the variable that names the proxy"):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    connection = await self._connect_to(address, proxy.port)
                async with asyncio.timeout(PROXY_TIMEOUT):
                    return await self._secured(connection, through=proxy)
            except OSError as error:
                failures.append(self._failure(f"the proxy {proxy}", error))
        raise Unreachable(f"the server {self.server} cannot be reached ({'; '.join(failures)})")

    def _failure(self, who: str, error: OSError) -> str:
        if isinstance(error, TimeoutError):
            return f"{who} did not answer in time"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate of {self.server.host} is not trusted ({error.verify_message})"
        return f"{who}: {reason(error)}"

    async def _connect_to(self, address: Address, port: int) -> socket.socket:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            put_mark(connection, self._mark)
            await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
        except BaseException:
            connection.close()
            raise
        return connection

    async def _secured(
        self, connection: socket.socket, *, through: Proxy | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            if through is not None:
                await tunnel(connection, through, self.server)
            name = self.server.host if self._tls else None
            return await asyncio.open_connection(sock=connection, ssl=self._tls, server_hostname=name)
        except BaseException:
            connection.close()
            raise

    async def _addresses(self) -> tuple[Address, ...]:
        try:
            found = await _addresses_of(self.server.host, self.server.port, "check -server")
        except Unreachable:
            if self.remembered:
                return self.remembered
            raise
        # Those that served before come first: they are known to work from here.
        return tuple(sorted(found, key=lambda address: address not in self.remembered))[:MAX_ADDRESSES]

    def _look_up(self) -> None:
        """Learn beside all else where the server is: UDP may reach it without the proxy."""
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.create_task(self._remember_name())

    async def _remember_name(self) -> None:
        with contextlib.suppress(Unreachable):
            self.remembered = (await self._addresses())[:MAX_REMEMBERED]


def put_mark(connection: socket.socket, mark: int) -> None:
    """Mark a socket's packets, if that is asked for and allowed."""
    if mark:
        with contextlib.suppress(PermissionError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)


async def _addresses_of(host: str, port: int, hint: str) -> Sequence[Address]:
    """Where a host is. Raises `Unreachable` with that hint."""
    with contextlib.suppress(ValueError):
        return (ip_address(host),)
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            return await _resolve(host, port)
    except OSError as error:  # a timeout is one too
        reason = error.strerror or "no answer"
        raise Unreachable(f"the name {host} has no address ({reason})", hint) from None


def reason(error: OSError) -> str:
    """Why, in the system's words: asyncio puts its own in their place. What TLS numbers is no error of the system."""
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or 'unknown').replace('_', ' ').lower()}"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


async def _resolve(host: str, port: int) -> list[Address]:
    """Ask the system's resolver, in a thread that ends with the program: the loop's own threads would be waited for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def deliver(found: list[Address], error: OSError | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def ask() -> None:
        found: list[Address] = []
        failure: OSError | None = None
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries))
        except OSError as error:
            failure = error
        except UnicodeError:
            failure = OSError(0, "it is no host name")
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(deliver, found, failure)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return await answer

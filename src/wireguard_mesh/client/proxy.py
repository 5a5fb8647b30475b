"""Through an HTTP proxy to the server: the proxy of the environment, and its CONNECT."""

from __future__ import annotations

import asyncio
import os
import socket
from http import HTTPStatus
from typing import Final

import h11

from wireguard_mesh.core.proxies import Proxy, proxy_for
from wireguard_mesh.model.servers import ServerAddress

MAX_HEAD: Final = 16 * 1024  # bytes of the proxy's answer
_READ: Final = 4096


class ProxyRefused(OSError):
    """The proxy answered, but with no connection. Its `strerror` says why, in words."""

    def __init__(self, words: str) -> None:
        super().__init__(0, words)


def from_environment(server: ServerAddress) -> Proxy | None:
    """The proxy that the environment wants for that server; None: none. Raises `InvalidValue`."""
    return proxy_for(server, os.environ)


async def tunnel(connection: socket.socket, proxy: Proxy, server: ServerAddress) -> None:
    """Make of a connection to the proxy one to the server. Raises `OSError`; bound its time."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    headers = [("host", server.authority)]
    if proxy.authorization:
        headers.append(("proxy-authorization", proxy.authorization))
    loop = asyncio.get_running_loop()
    request = h11.Request(method="CONNECT", target=server.authority, headers=headers)
    await loop.sock_sendall(connection, (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    try:
        answer = http.next_event()
        while answer is h11.NEED_DATA or isinstance(answer, h11.InformationalResponse):
            if answer is h11.NEED_DATA:
                http.receive_data(await loop.sock_recv(connection, _READ))
            answer = http.next_event()
    except h11.RemoteProtocolError:
        raise ProxyRefused("it does not speak HTTP as it should") from None
    assert isinstance(answer, h11.Response), "h11 lets nothing else come first"
    if answer.status_code not in range(200, 300):
        raise ProxyRefused(_why(answer.status_code, proxy, server))
    if http.trailing_data[0]:
        raise ProxyRefused("something spoke before we did")


def _why(status: int, proxy: Proxy, server: ServerAddress) -> str:
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        wants = "another user or password" if proxy.credentials else "a user and a password"
        return f"it wants {wants}, in the variable that names it, as http://USER:PASSWORD@{proxy}"
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED}:
        return f"it lets nobody CONNECT to port {server.port} of {server.host} (status {status})"
    return f"it cannot reach {server.authority} (status {status})"

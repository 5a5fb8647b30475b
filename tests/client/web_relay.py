"""A relay's end of a WebSocket, for tests: takes what comes, says what it is told to."""

import http
from dataclasses import dataclass, field

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.carrying import MAX_MESSAGE, unpack


@dataclass
class WebRelay:
    """`refusal`: the answers to the next requests, before any is a WebSocket."""

    address: ServerAddress
    server: Server | None = None
    refusals: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)

    @property
    def datagrams(self) -> list[bytes]:
        return [datagram for message in self.messages for datagram in unpack(message)]

    async def send(self, message: bytes | list[bytes]) -> None:
        await self.connections[-1].send(message)

    async def close(self) -> None:
        if self.server is not None:
            self.server.close(close_connections=True)
            await self.server.wait_closed()


async def start_web_relay() -> WebRelay:
    made = WebRelay(ServerAddress("http", "127.0.0.1", 1))

    def check(_: ServerConnection, request: Request) -> Response | None:
        made.requests.append(request)
        if not made.refusals:
            return None
        status, body, headers = made.refusals.pop(0)
        fields = Headers({"content-length": str(len(body)), **headers})
        return Response(status, http.HTTPStatus(status).phrase, fields, body)

    async def talk(connection: ServerConnection) -> None:
        made.connections.append(connection)
        try:
            async for message in connection:
                assert isinstance(message, bytes)
                made.messages.append(message)
        except ConnectionClosed:
            pass

    made.server = await serve(
        talk,
        "127.0.0.1",
        0,
        process_request=check,
        compression=None,
        max_size=MAX_MESSAGE,
        ping_interval=None,
        close_timeout=0.1,
    )
    made.address = ServerAddress("http", "127.0.0.1", next(iter(made.server.sockets)).getsockname()[1])
    return made

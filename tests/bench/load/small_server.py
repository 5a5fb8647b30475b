"""A server in small, inside the test: it verifies signatures, has a map, and streams it. It can fail as asked."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import msgspec

from tests.samples import NETWORK, peer, private_key, public_key
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import PeerId, parse_hostname
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.protocol import api, events
from wireguard_mesh.protocol.api import MapUpdate, UpdateKind
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.signatures import StaleNonce, Verifier, request_key

KEY = 1000  # the server's own, among the samples
EPOCH = "abc"
GZIP_HEADER = b"\x1f\x8b\x08" + bytes(7)
RETRY = 0.05


class SmallServer:
    """Its state, and what each of its streams is to be sent."""

    def __init__(self) -> None:
        self.port = 0
        self.instance = "first"
        self.peers: dict[PublicKey, Peer] = {}
        self.revision = 0
        self.requests: list[str] = []
        self.resumed: list[str] = []
        self.streams: dict[asyncio.StreamWriter, PublicKey] = {}
        self.tamper: Callable[[bytes], bytes] = lambda chunk: chunk  # with what one stream is sent
        self._verifier = Verifier(lambda key: request_key(private_key(KEY), key, peer=key, server=public_key(KEY)))

    @property
    def snapshot(self) -> MapUpdate:
        return MapUpdate(
            kind=UpdateKind.SNAPSHOT,
            epoch=EPOCH,
            revision=self.revision,
            network=NETWORK,
            upsert=tuple(self.peers.values()),
        )

    def change(self, text: bytes) -> None:
        """Send a step to all streams."""
        chunk = piece(text + events.current_event(MapVersion(EPOCH, self.revision)))
        for number, stream in enumerate(self.streams):
            stream.write(self.tamper(chunk) if number == 0 else chunk)

    def upsert(self, one: Peer) -> Peer:
        self.revision += 1
        one = self.peers[one.public_key] = msgspec.structs.replace(one, revision=self.revision)
        self.change(events.upsert_event([encode(one)]))
        return one

    def remove(self, key: PublicKey) -> None:
        self.revision += 1
        gone = self.peers.pop(key).id
        self.change(events.remove_event([gone]))
        for stream, owner in self.streams.items():
            if owner == key:
                stream.close()

    def break_streams(self) -> None:
        for stream in self.streams:
            stream.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.streams.pop(writer, None)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        method, target, _ = lines[0].split(" ")
        headers = dict(_pair(line) for line in lines[1:])
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(f"{method} {target}")
        if target == "/v1/server":
            return _write(writer, encode(self._info()))
        try:
            key = self._verifier.verify(
                method, target, headers, body, now=_created(headers), instance=self.instance
            ).public_key
        except StaleNonce:
            return _write(writer, b"{}", HTTPStatus.UNAUTHORIZED, f"mesh-nonce: {self.instance}\r\n")
        except MeshError as error:
            return _write(writer, str(error).encode(), HTTPStatus.UNAUTHORIZED)
        if target == "/v1/map/stream":
            return await self._stream(reader, writer, key, headers)
        return _write(writer, self._call(f"{method} {target}", key, body))

    def _call(self, call: str, key: PublicKey, body: bytes) -> bytes:
        match call:
            case "POST /v1/register":
                message = api.register_request.decode(body)
                number = len(self.requests)
                me = self.upsert(
                    msgspec.structs.replace(
                        peer(number),
                        public_key=key,
                        hostname=parse_hostname(message.hostname),
                        endpoints=message.endpoints,
                        id=PeerId(f"peer-{number:06d}"),
                    )
                )
                return encode(
                    api.RegisterResponse(peer_id=me.id, me=me, map=None, heartbeat_seconds=30.0, offline_seconds=90.0)
                )
            case "POST /v1/heartbeat":
                moved = api.heartbeat_request.decode(body).endpoints
                if moved is not None:
                    self.upsert(msgspec.structs.replace(self.peers[key], endpoints=moved))
                return encode(api.HeartbeatResponse(epoch=EPOCH, revision=self.revision, time=0.0))
            case "DELETE /v1/peer":
                self.remove(key)
                return encode(api.LeaveResponse())
            case "GET /v1/map":
                return encode(self.snapshot)
        raise AssertionError(call)

    async def _stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: PublicKey, headers: dict[str, str]
    ) -> bool:
        assert headers["accept-encoding"] == "gzip"
        since = headers.get("last-event-id", "")
        self.resumed.append(since)
        current = MapVersion(EPOCH, self.revision)
        text = events.retry_field(RETRY)
        if since != str(current):
            text += events.snapshot_event(NETWORK) + events.upsert_event(encode(one) for one in self.peers.values())
        text += events.current_event(current)
        half = len(text) // 2
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n"
        writer.write(head + chunk(GZIP_HEADER + deflated(text[:half])))
        await writer.drain()
        rest = piece(text[half:])
        writer.write(rest[:5])
        await asyncio.sleep(0)
        writer.write(rest[5:])
        self.streams[writer] = key
        await reader.read()  # nothing comes any more
        return False

    def _info(self) -> api.ServerInfo:
        return api.ServerInfo(
            server_public_key=public_key(KEY),
            network=NETWORK,
            epoch=EPOCH,
            admission=api.Admission.OPEN,
            version="0",
            instance=self.instance,
            time=0.0,
        )


def deflated(text: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(text) + machine.flush(zlib.Z_FULL_FLUSH)


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def piece(text: bytes) -> bytes:
    return chunk(deflated(text))


@asynccontextmanager
async def small_server() -> AsyncIterator[SmallServer]:
    server = SmallServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        server.break_streams()


def _write(writer: asyncio.StreamWriter, body: bytes, status: HTTPStatus = HTTPStatus.OK, headers: str = "") -> bool:
    writer.write(f"HTTP/1.1 {status} x\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body)
    return True


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value


def _created(headers: dict[str, str]) -> float:
    return float(headers["signature-input"].partition("created=")[2].partition(";")[0])

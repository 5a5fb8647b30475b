"""A whole server with its relay's process: WireGuard's messages on real sockets, and what the map says of them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest

from tests.core.samples import private_key, public_key
from tests.databases import POSTGRESQL, Databases
from tests.server.test_daemon import settings_in, visit
from tests.waiting import until
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict
from wireguard_mesh.model.keys import PrivateKey, PublicKey
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import OWN_RELAY, NatClass, Relay
from wireguard_mesh.protocol import api, carrying, handshake
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.protocol.handshake import Initiator, tai64n
from wireguard_mesh.protocol.noise import HandshakeRefused, StaticKey
from wireguard_mesh.protocol.signatures import Signer, make_nonce
from wireguard_mesh.server.daemon import Running
from wireguard_mesh.store.location import written

ANSWER_SECONDS = 10.0


@dataclass
class Client:
    """Peer `seed` of a running server."""

    seed: int
    http: httpx.AsyncClient
    server: api.ServerInfo
    relays: tuple[Relay, ...] = ()

    def headers(self, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        signer = Signer(private_key(self.seed), self.server.server_public_key)
        return signer.sign(
            method, target, body, now=time.time(), nonce=make_nonce(self.server.instance, os.urandom(8).hex())
        )

    async def join(self) -> None:
        target = "/v1/register"
        body = encode(api.RegisterRequest(hostname="machine"))
        answer = await self.http.post(target, content=body, headers=self.headers("POST", target, body))
        update = api.register_response.decode(answer.content).map
        assert update is not None
        self.relays = update.relays or ()

    async def me(self) -> Peer:
        answer = await self.http.get("/v1/map", headers=self.headers("GET", "/v1/map"))
        update = api.map_update.decode(answer.content)
        return next(peer for peer in update.upsert if peer.public_key == public_key(self.seed))

    async def until(self, is_so: Callable[[Peer], bool]) -> Peer:
        """What the map says of it, as soon as that is so: read again at each change, by the map's own stream."""
        headers = self.headers("GET", "/v1/map/stream")
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            self.http.stream("GET", "/v1/map/stream", headers=headers, timeout=ANSWER_SECONDS) as stream,
        ):
            async for _ in stream.aiter_bytes():
                if is_so(peer := await self.me()):
                    return peer
        raise AssertionError("the stream ended")

    async def until_seen(self, nat: NatClass) -> Peer:
        return await self.until(lambda peer: peer.nat is nat)

    def initiator(self, vantage: PublicKey) -> Initiator:
        return Initiator(
            StaticKey(private_key(self.seed)),
            vantage,
            sender=int.from_bytes(os.urandom(4), "little"),
            ephemeral=PrivateKey.generate(os.urandom(32)),
            timestamp=tai64n(time.time_ns()),
        )

    async def shake_hands(self, link: socket.socket, vantage: int) -> None:
        """As WireGuard does: an initiation again and again until it is answered, and a keepalive."""
        point = self.relays[0].vantage_points[vantage]
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                initiator = self.initiator(point.public_key)
                await loop.sock_sendto(link, initiator.datagram, ("127.0.0.1", point.port))
                with suppress(TimeoutError, HandshakeRefused):  # the answer may be to the one before
                    async with asyncio.timeout(0.5):
                        index, keys = initiator.finish(await loop.sock_recv(link, 2000))
                        break
        await loop.sock_sendto(link, handshake.keepalive(index, keys.sending, 0), ("127.0.0.1", point.port))


async def client(seed: int, http: httpx.AsyncClient) -> Client:
    info = api.server_info.decode((await http.get("/v1/server")).content)
    joined = Client(seed, http, info)
    await joined.join()
    return joined


async def relay_health(http: httpx.AsyncClient) -> api.RelayHealth:
    own = api.health.decode((await http.get("/v1/health")).content).relay
    assert own is not None
    return own


def udp() -> socket.socket:
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.bind(("127.0.0.1", 0))
    link.setblocking(False)
    return link


async def during(folder: Path, what: Callable[[Running, httpx.AsyncClient], Awaitable[None]], **flags: str) -> None:
    await visit(settings_in(folder, **flags), what)


async def test_a_newcomer_that_says_hello_to_both_vantage_points_is_known_by_them(tmp_path: Path) -> None:
    async def look(running: Running, http: httpx.AsyncClient) -> None:
        first = await client(1, http)
        (relay,) = first.relays
        assert running.relay is not None
        assert (relay.id, relay.ipv4) == (OWN_RELAY, None)
        assert relay.public_key == first.server.server_public_key
        assert tuple(point.port for point in relay.vantage_points) == running.relay.ports
        with closing(udp()) as link:
            for vantage in (0, 1):
                await first.shake_hands(link, vantage)
            peer = await first.until_seen(NatClass.EASY)
            assert peer.reflexive == (Endpoint.parse(f"127.0.0.1:{link.getsockname()[1]}"),)
        own = await relay_health(http)
        assert own.up
        assert own.ports == running.relay.ports

    await during(tmp_path, look)


async def test_a_relay_whose_process_is_killed_is_back_and_nobody_is_told_otherwise(tmp_path: Path) -> None:
    async def look(_running: Running, http: httpx.AsyncClient) -> None:
        first = await client(1, http)
        with closing(udp()) as link, closing(udp()) as other:
            await first.shake_hands(link, 0)
            await first.shake_hands(link, 1)
            before = (await first.until_seen(NatClass.EASY)).reflexive
            for child in children():
                os.kill(child, signal.SIGKILL)
            await first.shake_hands(other, 0)
            await first.shake_hands(other, 1)
            peer = await first.until(lambda peer: len(peer.reflexive) == 1 and peer.reflexive != before)
            assert peer.nat is NatClass.EASY
        answer = await http.get("/v1/map", headers=first.headers("GET", "/v1/map"))
        assert api.map_update.decode(answer.content).relays == first.relays

    await during(tmp_path, look)


def children() -> list[int]:
    """The relay's process, which is the only one of ours."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed if b"wireguard_mesh.relay" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_who_comes_by_websocket_is_answered_there_and_known_to_be_blocked(tmp_path: Path) -> None:
    async def look(running: Running, http: httpx.AsyncClient) -> None:
        first = await client(1, http)
        with closing(udp()) as link:
            await (await client(2, http)).shake_hands(link, 0)  # so its process runs
        reader, writer = await asyncio.open_connection("127.0.0.1", running.listen.port)
        fields = {
            "host": "x",
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            **first.headers("GET", carrying.TARGET),
        }
        lines = [f"GET {carrying.TARGET} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            initiator = first.initiator(first.relays[0].public_key)
            writer.write(masked(carrying.pack([initiator.datagram])))
            (response,) = carrying.unpack(await message(reader))
        index, keys = initiator.finish(response)
        writer.write(masked(carrying.pack([handshake.keepalive(index, keys.sending, 0)])))
        peer = await first.until_seen(NatClass.BLOCKED)
        assert peer.reflexive == ()
        writer.close()

    await during(tmp_path, look)


def masked(payload: bytes) -> bytes:
    """One binary frame of a client (RFC 6455, section 5.2); a mask of zeros changes nothing."""
    assert 125 < len(payload) < 65_536 or len(payload) <= 125
    length = bytes([0x80 | len(payload)]) if len(payload) <= 125 else bytes([0x80 | 126]) + len(payload).to_bytes(2)
    return b"\x82" + length + bytes(4) + payload


async def message(reader: asyncio.StreamReader) -> bytes:
    """The payload of the next binary frame of the server; pings are passed over."""
    while True:
        first, length = await reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await reader.readexactly(2))
        payload = await reader.readexactly(length)
        if first == 0x82:
            return payload


async def test_a_port_that_is_taken_on_udp_is_said_before_anything_is_served(tmp_path: Path) -> None:
    with closing(udp()) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=rf"UDP port {port} is in use.*-udp off"):
            await during(tmp_path, nothing, listen=f"127.0.0.1:{port}")
        await during(tmp_path, without_relay, listen=f"127.0.0.1:{port}", udp="off")


async def test_the_relay_of_a_server_that_was_killed_is_given_a_moment_to_end(tmp_path: Path) -> None:
    left = udp()
    listen = f"127.0.0.1:{left.getsockname()[1]}"
    asyncio.get_running_loop().call_later(0.15, left.close)
    await during(tmp_path, nothing, listen=listen)


async def nothing(_running: Running, _http: httpx.AsyncClient) -> None:
    pass


async def without_relay(running: Running, http: httpx.AsyncClient) -> None:
    assert running.relay is None
    assert (await client(1, http)).relays == ()
    assert api.health.decode((await http.get("/v1/health")).content).relay is None


async def test_a_server_that_was_a_relay_and_is_none_takes_itself_from_the_map(tmp_path: Path) -> None:
    async def look(_running: Running, http: httpx.AsyncClient) -> None:
        assert len((await client(1, http)).relays) == 1

    await during(tmp_path, look)
    await during(tmp_path, without_relay, udp="off")
    await until(lambda: not children())


async def test_one_of_several_servers_is_a_relay_of_its_own_where_it_says(tmp_path: Path, databases: Databases) -> None:
    database = written(databases.new(POSTGRESQL))

    async def look(running: Running, http: httpx.AsyncClient) -> None:
        first = await client(1, http)
        (relay,) = first.relays
        assert running.relay is not None
        assert relay.id == f"server-127.0.0.1-{running.relay.ports[0]}"
        assert relay.ipv4 == IPv4Address("127.0.0.1")
        assert relay.public_key != first.server.server_public_key
        with closing(udp()) as link:
            for vantage in (0, 1):
                await first.shake_hands(link, vantage)
        await first.until_seen(NatClass.EASY)

    await during(tmp_path, look, db=database, relay_address="127.0.0.1")
    await during(tmp_path, offered_elsewhere, db=database)


async def offered_elsewhere(running: Running, http: httpx.AsyncClient) -> None:
    assert running.relay is None  # nobody said where
    assert len((await client(1, http)).relays) == 1  # of the server before, until it is silent for too long

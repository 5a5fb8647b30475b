"""Through a real CONNECT proxy on loopback."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from ipaddress import ip_address

import pytest

from tests.client import connect_proxy
from tests.client.conftest import Agents, RealServer, Scripted, answering, response, until
from wireguard_mesh.client import proxy as client_proxy
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.http import HttpClient
from wireguard_mesh.core.proxies import Proxy
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.protocol.status import MapSource

StartProxy = Callable[..., Awaitable[Proxy]]


@pytest.fixture
async def start_proxy() -> AsyncIterator[StartProxy]:
    listeners: list[asyncio.Server] = []

    async def start(login: str = "", credentials: bytes = b"") -> Proxy:
        listener = await asyncio.start_server(partial(connect_proxy.serve, login), "127.0.0.1", 0)
        listeners.append(listener)
        return Proxy("127.0.0.1", listener.sockets[0].getsockname()[1], credentials)

    yield start
    for listener in listeners:
        listener.close()


async def get(dialer: Dialer) -> bytes:
    client = HttpClient(dialer)
    answer = await client.request("GET", "/", dict, seconds=5, limit=100)
    client.drop_connections()
    return answer.body


async def test_speaks_to_the_server_through_it(scripted: Scripted, start_proxy: StartProxy) -> None:
    scripted.talk = answering(scripted, response("200 OK", b"hello"))
    dialer = Dialer(scripted.address, proxy=await start_proxy())
    assert await get(dialer) == b"hello"
    await until(lambda: dialer.remembered == (ip_address("127.0.0.1"),))


async def test_says_who_asks(scripted: Scripted, start_proxy: StartProxy) -> None:
    scripted.talk = answering(scripted, response("200 OK", b"hello"))
    assert await get(Dialer(scripted.address, proxy=await start_proxy("me:secret", b"me:secret"))) == b"hello"
    for credentials, words in ((b"", "a user and a password"), (b"me:wrong", "another user or password")):
        with pytest.raises(Unavailable, match=f"wants {words}") as caught:
            await get(Dialer(scripted.address, proxy=await start_proxy("me:secret", credentials)))
        assert "wrong" not in str(caught.value)


async def test_a_server_that_the_proxy_cannot_reach(start_proxy: StartProxy) -> None:
    with pytest.raises(Unavailable, match=r"it cannot reach 127\.0\.0\.1:9 \(status 502\)"):
        await Dialer(ServerAddress("http", "127.0.0.1", 9), proxy=await start_proxy()).connect()


async def test_a_proxy_that_is_not_there() -> None:
    with pytest.raises(Unavailable, match=r"the proxy 127\.0\.0\.1:9: .*refused"):
        await Dialer(ServerAddress("http", "192.0.2.1", 80), proxy=Proxy("127.0.0.1", 9)).connect()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 No\r\n\r\n", "it lets nobody CONNECT to port 8080"),
        (b"HTTP/1.1 405 No\r\n\r\n", "it lets nobody CONNECT to port 8080"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 9000, "does not speak HTTP"),
        (b"", "does not speak HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "something spoke before we did"),
    ],
)
async def test_a_proxy_that_is_none(scripted: Scripted, answer: bytes, words: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    scripted.talk = talk
    proxy = Proxy(scripted.address.host, scripted.address.port)
    with pytest.raises(Unavailable, match=words):
        await Dialer(ServerAddress("http", "192.0.2.1", 8080), proxy=proxy).connect()


async def test_an_interim_answer_is_not_the_answer(scripted: Scripted) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response("200 OK", b"hello"))
        await writer.drain()

    scripted.talk = talk
    dialer = Dialer(ServerAddress("http", "192.0.2.1", 8080), proxy=Proxy(scripted.address.host, scripted.address.port))
    assert await get(dialer) == b"hello"


async def test_a_silent_proxy_is_not_waited_for(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    scripted.talk = talk
    monkeypatch.setattr("wireguard_mesh.client.dial.PROXY_TIMEOUT", 0.05)
    proxy = Proxy(scripted.address.host, scripted.address.port)
    with pytest.raises(Unavailable, match="did not answer in time"):
        await Dialer(ServerAddress("http", "192.0.2.1", 8080), proxy=proxy).connect()


async def test_the_name_of_a_server_may_be_the_proxys_to_know(scripted: Scripted) -> None:
    scripted.talk = answering(scripted, b"HTTP/1.1 200 OK\r\n\r\n", response("200 OK", b"hello"))
    proxy = Proxy(scripted.address.host, scripted.address.port)
    dialer = Dialer(ServerAddress("http", "vpn.invalid", 8080), proxy=proxy)
    assert await get(dialer) == b"hello"
    assert scripted.requests[0].startswith(b"CONNECT vpn.invalid:8080 ")
    assert dialer.remembered == ()


async def test_an_agent_joins_and_follows_the_map_through_it(
    server: RealServer,
    agents: Agents,
    start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = await start_proxy("me:secret")
    asked: list[ServerAddress] = []

    def environment(address: ServerAddress) -> Proxy:
        asked.append(address)
        return Proxy(proxy.host, proxy.port, b"me:secret")

    monkeypatch.setattr("wireguard_mesh.client.agent.from_environment", environment)
    one = agents.start(1, server.address)
    await one.up()
    await until(lambda: one.agent.parts.membership.follower.source is MapSource.STREAM)
    await one.end()
    assert asked == [server.address]
    assert "secret" not in caplog.text


def test_the_environment_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.example.com:3128")
    assert client_proxy.from_environment(ServerAddress.parse("https://vpn.example.com")) == Proxy(
        "proxy.example.com", 3128, b"me:secret"
    )

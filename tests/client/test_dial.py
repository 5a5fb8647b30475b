import asyncio
import socket
import threading
from ipaddress import ip_address

import pytest

from tests.client.conftest import Scripted
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.servers import ServerAddress

LOOPBACK = ip_address("127.0.0.1")


async def close_after(dialer: Dialer) -> None:
    _, writer = await dialer.connect()
    writer.close()


async def test_connects_to_an_address_and_remembers_it(scripted: Scripted) -> None:
    dialer = Dialer(scripted.address)
    await close_after(dialer)
    assert dialer.remembered == (LOOPBACK,)


async def test_connects_to_a_name(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 80)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    dialer = Dialer(ServerAddress("http", "vpn.example.com", scripted.address.port))
    await close_after(dialer)
    assert dialer.remembered == (LOOPBACK,)


async def test_goes_on_to_the_next_address(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET6, 1, 6, "", ("::1", 80, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    dialer = Dialer(ServerAddress("http", "vpn.example.com", scripted.address.port))
    await close_after(dialer)
    assert dialer.remembered == (LOOPBACK,)


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_AGAIN, "try again"), UnicodeError("label too long")])
async def test_without_name_service_the_remembered_address_serves(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    address = ServerAddress("http", "vpn.example.com", scripted.address.port)
    await close_after(Dialer(address, remembered=[LOOPBACK]))
    with pytest.raises(Unavailable, match=r"vpn\.example\.com has no address .*-server"):
        await Dialer(address).connect()


async def test_a_name_service_that_is_silent_is_not_waited_for(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object, **__: object) -> None:
        threading.Event().wait()  # for ever

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("wireguard_mesh.client.dial.RESOLVE_TIMEOUT", 0.02)
    await close_after(Dialer(ServerAddress("http", "vpn.example.com", scripted.address.port), remembered=[LOOPBACK]))


async def test_a_closed_port_is_one_error() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 cannot be reached .*refused"):
        await Dialer(ServerAddress("http", "127.0.0.1", 9)).connect()


async def test_marks_its_packets_if_it_may(scripted: Scripted) -> None:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)
    except PermissionError:
        pytest.skip("no privilege to mark packets")
    dialer = Dialer(scripted.address, mark=51820)
    _, writer = await dialer.connect()
    marked = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
    writer.close()
    assert marked == 51820


async def test_a_server_without_tls_is_no_tls_server(scripted: Scripted) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Dialer(ServerAddress("https", "127.0.0.1", scripted.address.port)).connect()


async def test_a_plain_server_is_not_asked_in_tls(scripted: Scripted) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    scripted.talk = talk
    with pytest.raises(Unavailable, match="no TLS: ") as caught:
        await Dialer(ServerAddress("https", "127.0.0.1", scripted.address.port)).connect()
    assert "not permitted" not in str(caught.value)
